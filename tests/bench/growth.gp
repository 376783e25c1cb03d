# What things cost as the sessions grow in number.
set terminal svg size 860,520 font "sans-serif,13" background "white"
set output out."/growth.svg"
set title "What things cost, by the number of sessions in the store"
set logscale xy
set xrange [7000:7500000]
set xtics nomirror ("10,000" 1e4, "100,000" 1e5, "1 million" 1e6, "5 million" 5e6)
set ytics nomirror
set format y "%g"
set label 1 system("cat ".data."/growth.txt") at screen 0.5, screen 0.03 center noenhanced font ",11" tc rgb "#666666"
set bmargin 5
set xlabel "sessions"
set ylabel "microseconds"
set grid ytics lc rgb "#dddddd"
set border 3 lc rgb "#888888"
set key outside right top reverse Left samplen 2 width 2
set tics textcolor rgb "#333333"
file = data."/growth.dat"
plot file using 1:9 with linespoints lw 2 pt 7 lc rgb "#332288" title "open the store", \
     file using 1:3 with linespoints lw 2 pt 7 lc rgb "#cc6633" title "refresh, rotated, durable, ES256", \
     file using 1:7 with linespoints lw 2 pt 5 lc rgb "#aa3377" title "cutoff of the largest client", \
     file using 1:5 with linespoints lw 2 pt 7 lc rgb "#228833" title "page of 50 of a client", \
     file using 1:4 with linespoints lw 2 pt 5 lc rgb "#66bb55" title "page of 50 of a subject", \
     file using 1:2 with linespoints lw 2 pt 7 lc rgb "#4477aa" title "refresh, kept, ES256", \
     file using 1:8 with linespoints lw 2 pt 5 lc rgb "#999933" title "sweep, a session", \
     file using 1:6 with linespoints lw 2 pt 7 lc rgb "#888888" title "count of a client"
