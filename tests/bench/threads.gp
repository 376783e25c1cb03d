# Durable rotations a second over the number of threads, and plain LMDB with the batches that ours reached.
set terminal svg size 760,460 font "sans-serif,13" background "white"
set output out."/threads.svg"
set title "Refreshes with rotation, each on stable storage when it is answered"
set logscale x 2
set xrange [0.9:145]
set xtics ("1" 1, "2" 2, "4" 4, "8" 8, "16" 16, "32" 32, "64" 64, "128" 128) nomirror
set ytics nomirror
set label 1 system("cat ".data."/bench.txt") at screen 0.5, screen 0.03 center noenhanced font ",11" tc rgb "#666666"
set bmargin 5
set xlabel "threads"
set ylabel "thousand a second"
set yrange [0:*]
set grid ytics lc rgb "#dddddd"
set border 3 lc rgb "#888888"
set tics textcolor rgb "#333333"
set key top left reverse Left
plot data."/threads.dat" using 1:($4/1000) with linespoints lw 2 pt 6 dt 2 lc rgb "#888888" title "plain LMDB: synced commits of as many puts, 1 thread", \
     data."/threads.dat" using 1:($2/1000) with linespoints lw 2 pt 7 lc rgb "#4477aa" title "refresh, the host mints its access tokens", \
     data."/threads.dat" using 1:($3/1000) with linespoints lw 2 pt 5 lc rgb "#cc6633" title "refresh with an ES256 access token"
