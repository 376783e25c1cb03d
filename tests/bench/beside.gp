# Figures whose goal is a part of a raw limit: ours as bars, that limit as 1, the goal as a mark.
stats data."/beside.dat" using 2 nooutput
most = STATS_max > 1.25 ? STATS_max : 1.25
set terminal svg size 980,540 font "sans-serif,13" background "white"
set output out."/beside.svg"
set title "libofflinetok beside the raw limit of the same machine, in the same run" noenhanced
set label 1 system("cat ".data."/bench.txt") at screen 0.5, screen 0.03 center noenhanced font ",11" tc rgb "#666666"
set bmargin 6
set xlabel "1 = the raw limit: OpenSSL's signatures, plain LMDB's durable commits"
set xrange [0:most*1.42]
set offsets 0, 0, 0.4, 0.4
set xtics 0, 0.25, most nomirror
set ytics nomirror scale 0 noenhanced
set grid xtics lc rgb "#dddddd"
set border 3 lc rgb "#888888"
set tics textcolor rgb "#333333"
set lmargin 52
set style fill solid noborder
set arrow from 1, graph 0 to 1, graph 1 nohead lc rgb "#888888" lw 2 dt 2
set key at screen 0.02, screen 0.97 left top horizontal reverse Left
plot data."/beside.dat" using ($2/2):0:($2/2):(0.32):ytic(1) with boxxyerror lc rgb "#4477aa" title "ours", \
     data."/beside.dat" using 3:($0-0.42):(0):(0.84) with vectors nohead lw 4 lc rgb "#cc6633" title "goal", \
     data."/beside.dat" using (most*1.02):0:4 with labels left tc rgb "#333333" font ",11" notitle
