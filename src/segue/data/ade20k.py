"""ADE20K as the scene parsing benchmark has it, 150 classes.

Zhou et al.: Scene Parsing through ADE20K Dataset, CVPR 2017; Semantic Understanding of Scenes through the ADE20K
Dataset, IJCV 127, 2019, arXiv:1608.05442. Two classes share a colour: road and skyscraper.
"""

from segue.data.declaration import Archive, Declaration, Split
from segue.data.layouts import Matched
from segue.labels import Labels

LABELS = Labels.from_table(
    """
  1  120 120 120  wall
  2  180 120 120  building
  3    6 230 230  sky
  4   80  50  50  floor
  5    4 200   3  tree
  6  120 120  80  ceiling
  7  140 140 140  road
  8  204   5 255  bed
  9  230 230 230  windowpane
 10    4 250   7  grass
 11  224   5 255  cabinet
 12  235 255   7  sidewalk
 13  150   5  61  person
 14  120 120  70  earth
 15    8 255  51  door
 16  255   6  82  table
 17  143 255 140  mountain
 18  204 255   4  plant
 19  255  51   7  curtain
 20  204  70   3  chair
 21    0 102 200  car
 22   61 230 250  water
 23  255   6  51  painting
 24   11 102 255  sofa
 25  255   7  71  shelf
 26  255   9 224  house
 27    9   7 230  sea
 28  220 220 220  mirror
 29  255   9  92  rug
 30  112   9 255  field
 31    8 255 214  armchair
 32    7 255 224  seat
 33  255 184   6  fence
 34   10 255  71  desk
 35  255  41  10  rock
 36    7 255 255  wardrobe
 37  224 255   8  lamp
 38  102   8 255  bathtub
 39  255  61   6  railing
 40  255 194   7  cushion
 41  255 122   8  base
 42    0 255  20  box
 43  255   8  41  column
 44  255   5 153  signboard
 45    6  51 255  chest of drawers
 46  235  12 255  counter
 47  160 150  20  sand
 48    0 163 255  sink
 49  140 140 140  skyscraper
 50  250  10  15  fireplace
 51   20 255   0  refrigerator
 52   31 255   0  grandstand
 53  255  31   0  path
 54  255 224   0  stairs
 55  153 255   0  runway
 56    0   0 255  case
 57  255  71   0  pool table
 58    0 235 255  pillow
 59    0 173 255  screen door
 60   31   0 255  stairway
 61   11 200 200  river
 62  255  82   0  bridge
 63    0 255 245  bookcase
 64    0  61 255  blind
 65    0 255 112  coffee table
 66    0 255 133  toilet
 67  255   0   0  flower
 68  255 163   0  book
 69  255 102   0  hill
 70  194 255   0  bench
 71    0 143 255  countertop
 72   51 255   0  stove
 73    0  82 255  palm
 74    0 255  41  kitchen island
 75    0 255 173  computer
 76   10   0 255  swivel chair
 77  173 255   0  boat
 78    0 255 153  bar
 79  255  92   0  arcade machine
 80  255   0 255  hovel
 81  255   0 245  bus
 82  255   0 102  towel
 83  255 173   0  light
 84  255   0  20  truck
 85  255 184 184  tower
 86    0  31 255  chandelier
 87    0 255  61  awning
 88    0  71 255  streetlight
 89  255   0 204  booth
 90    0 255 194  television receiver
 91    0 255  82  airplane
 92    0  10 255  dirt track
 93    0 112 255  apparel
 94   51   0 255  pole
 95    0 194 255  land
 96    0 122 255  bannister
 97    0 255 163  escalator
 98  255 153   0  ottoman
 99    0 255  10  bottle
100  255 112   0  buffet
101  143 255   0  poster
102   82   0 255  stage
103  163 255   0  van
104  255 235   0  ship
105    8 184 170  fountain
106  133   0 255  conveyer belt
107    0 255  92  canopy
108  184   0 255  washer
109  255   0  31  plaything
110    0 184 255  swimming pool
111    0 214 255  stool
112  255   0 112  barrel
113   92 255   0  basket
114    0 224 255  waterfall
115  112 224 255  tent
116   70 184 160  bag
117  163   0 255  minibike
118  153   0 255  cradle
119   71 255   0  oven
120  255   0 163  ball
121  255 204   0  food
122  255   0 143  step
123    0 255 235  tank
124  133 255   0  trade name
125  255   0 235  microwave
126  245   0 255  pot
127  255   0 122  animal
128  255 245   0  bicycle
129   10 190 212  lake
130  214 255   0  dishwasher
131    0 204 255  screen
132   20   0 255  blanket
133  255 255   0  sculpture
134    0 153 255  hood
135    0  41 255  sconce
136    0 255 204  vase
137   41   0 255  traffic light
138   41 255   0  tray
139  173   0 255  ashcan
140    0 245 255  fan
141   71   0 255  pier
142  122   0 255  crt screen
143    0 255 184  plate
144    0  92 255  monitor
145  184 255   0  bulletin board
146    0 133 255  shower
147  255 214   0  radiator
148   25 194 194  glass
149  102 255   0  clock
150   92   0 255  flag
""",
    ignored=(0,),
)

ADE = "ADEChallengeData2016"


def _split(folder: str, pictures: int) -> Split:
    return Split(
        pictures,
        (Matched(image=f"{ADE}/images/{folder}/{{}}.jpg", mask=f"{ADE}/annotations/{folder}/{{}}.png"),),
    )


ADE20K = Declaration(
    name="ade20k",
    title="ADE20K, the scene parsing benchmark of 2016",
    licence="masks BSD-3; pictures for non-commercial research and education",
    labels=LABELS,
    splits={"train": _split("training", 20210), "val": _split("validation", 2000)},
    hidden={"test": "hand in values 1 to 150, as `segue predict` writes them, at http://sceneparsing.csail.mit.edu"},
    inside=ADE,
    archives=(
        Archive(
            name="ADEChallengeData2016.zip",
            place=ADE,
            holds="annotations",
            urls=("http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",),
            sha256="7ff1be44964418441f542a7cc1e1a650e7dc0fc275f5d23252bc9bbdbc977b29",
            size=967382037,
        ),
    ),
)
