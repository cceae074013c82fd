"""Phone inventories and the maps between them.

[1] K.-F. Lee, H.-W. Hon, "Speaker-independent phone recognition using hidden Markov models", IEEE
    Trans. ASSP 37, 1641-1648, 1989: 61 TIMIT symbols, trained as 48, scored as 39.
"""

# symbol, its class among 48, its class among 39; q (glottal stop) is dropped in both [1]
_TABLE = """
aa aa aa|ae ae ae|ah ah ah|ao ao aa|aw aw aw|ax ax ah|ax-h ax ah|axr er er|ay ay ay|b b b
bcl vcl sil|ch ch ch|d d d|dcl vcl sil|dh dh dh|dx dx dx|eh eh eh|el el l|em m m|en en n|eng ng ng
epi epi sil|er er er|ey ey ey|f f f|g g g|gcl vcl sil|h# sil sil|hh hh hh|hv hh hh|ih ih ih
ix ix ih|iy iy iy|jh jh jh|k k k|kcl cl sil|l l l|m m m|n n n|ng ng ng|nx n n|ow ow ow|oy oy oy
p p p|pau sil sil|pcl cl sil|q - -|r r r|s s s|sh sh sh|t t t|tcl cl sil|th th th|uh uh uh
uw uw uw|ux uw uw|v v v|w w w|y y y|z z z|zh zh sh
"""
_ROWS = [entry.split() for entry in _TABLE.replace("\n", "|").split("|") if entry]

TIMIT_61 = tuple(row[0] for row in _ROWS)
FOLD_48 = {row[0]: row[1] for row in _ROWS if row[1] != "-"}
FOLD_39 = {row[0]: row[2] for row in _ROWS if row[2] != "-"}
SILENCE = "sil"
