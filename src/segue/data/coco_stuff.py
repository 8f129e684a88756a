"""COCO-Stuff, 171 classes: the first 10k pictures, and all 123k that have masks (called 164k).

Caesar, Uijlings, Ferrari: COCO-Stuff: Thing and Stuff Classes in Context, CVPR 2018, arXiv:1612.03716; Lin et al.:
Microsoft COCO, ECCV 2014, arXiv:1405.0312. Of 182 ids, 11 stand for nothing. The masks of 10k hold ids, those of 164k
hold ids - 1: the same class differs by one between the two.
"""

from segue.data.declaration import Archive, Declaration, Split
from segue.data.formats import MatMask
from segue.data.layouts import Listed, Matched
from segue.labels import Labels

TABLE = """
  1    0 192  64  person
  2    0 192  64  bicycle
  3    0  64  96  car
  4  128 192 192  motorcycle
  5    0  64  64  airplane
  6    0 192 224  bus
  7    0 192 192  train
  8  128 192  64  truck
  9    0 192  96  boat
 10  128 192  64  traffic light
 11  128  32 192  fire hydrant
 13    0   0 224  stop sign
 14    0   0  64  parking meter
 15    0 160 192  bench
 16  128   0  96  bird
 17  128   0 192  cat
 18    0  32 192  dog
 19  128 128 224  horse
 20    0   0 192  sheep
 21  128 160 192  cow
 22  128 128   0  elephant
 23  128   0  32  bear
 24  128  32   0  zebra
 25  128   0 128  giraffe
 27   64 128  32  backpack
 28    0 160   0  umbrella
 31    0   0   0  handbag
 32  192 128 160  tie
 33    0  32   0  suitcase
 34    0 128 128  frisbee
 35   64 128 160  skis
 36  128 160   0  snowboard
 37    0 128   0  sports ball
 38  192 128  32  kite
 39  128  96 128  baseball bat
 40    0   0 128  baseball glove
 41   64   0  32  skateboard
 42    0 224 128  surfboard
 43  128   0   0  tennis racket
 44  192   0 160  bottle
 46    0  96 128  wine glass
 47  128 128 128  cup
 48   64   0 160  fork
 49  128 224 128  knife
 50  128 128  64  spoon
 51  192   0  32  bowl
 52  128  96   0  banana
 53  128   0 192  apple
 54    0 128  32  sandwich
 55   64 224   0  orange
 56    0   0  64  broccoli
 57  128 128 160  carrot
 58   64  96   0  hot dog
 59    0 128 192  pizza
 60    0 128 160  donut
 61  192 224   0  cake
 62    0 128  64  chair
 63  128 128  32  couch
 64  192  32 128  potted plant
 65    0  64 192  bed
 67    0   0  32  dining table
 70   64 160 128  toilet
 72  128  64  64  tv
 73  128   0 160  laptop
 74   64  32 128  mouse
 75  128 192 192  remote
 76    0   0 160  keyboard
 77  192 160 128  cell phone
 78  128 192   0  microwave
 79  128   0  96  oven
 80  192  32   0  toaster
 81  128  64 128  sink
 82   64 128  96  refrigerator
 84   64 160   0  book
 85    0  64   0  clock
 86  192 128 224  vase
 87   64  32   0  scissors
 88    0 192 128  teddy bear
 89   64 128 224  hair drier
 90  192 160   0  toothbrush
 92    0 192   0  banner
 93  192 128  96  blanket
 94  192  96 128  branch
 95    0  64 128  bridge
 96   64   0  96  building-other
 97   64 224 128  bush
 98  128  64   0  cabinet
 99  192   0 224  cage
100   64  96 128  cardboard
101  128 192 128  carpet
102   64   0 224  ceiling-other
103  192 224 128  ceiling-tile
104  128 192  64  cloth
105  192   0  96  clothes
106  192  96   0  clouds
107  128  64 192  counter
108    0 128  96  cupboard
109    0 224   0  curtain
110   64  64  64  desk-stuff
111  128 128 224  dirt
112    0  96   0  door-stuff
113   64 192 192  fence
114    0 128 224  floor-marble
115  128 224   0  floor-other
116   64 192  64  floor-stone
117  128 128  96  floor-tile
118  128  32 128  floor-wood
119   64   0 192  flower
120    0  64  96  fog
121    0 160 128  food-other
122  192   0  64  fruit
123  128  64 224  furniture-other
124    0  32 128  grass
125  192 128 192  gravel
126    0  64 224  ground-other
127  128 160 128  hill
128  192 128   0  house
129  128  64  32  leaves
130  128  32  64  light
131  192   0 128  mat
132   64 192  32  metal
133    0 160  64  mirror-stuff
134   64   0   0  moss
135  192 192 160  mountain
136    0  32  64  mud
137   64 128 128  napkin
138   64 192 160  net
139  128 160  64  paper
140   64 128   0  pavement
141  192 192  32  pillow
142  128  96 192  plant-other
143   64   0 128  plastic
144   64  64  32  platform
145    0 224 192  playingfield
146  192   0   0  railing
147  192  64 160  railroad
148    0  96 192  river
149  192 128 128  road
150   64  64 160  rock
151  128 224 192  roof
152  192 128  64  rug
153  192  64  32  salad
154  128  96  64  sand
155  192   0 192  sea
156    0 192  32  shelf
157   64 224  64  sky-other
158   64   0  64  skyscraper
159  128 192 160  snow
160   64  96  64  solid-other
161   64 128 192  stairs
162    0 192 160  stone
163  192 224  64  straw
164   64 128  64  structural-other
165  128 192  32  table
166  192  32 192  tent
167   64  64 192  textile-other
168    0  64  32  towel
169   64 160 192  tree
170  192  64  64  vegetable
171  128  64 160  wall-brick
172   64  32 192  wall-concrete
173  192 192 192  wall-other
174    0  64 160  wall-panel
175  192 160 192  wall-stone
176  192 192   0  wall-tile
177  128  64  96  wall-wood
178  192  32  64  water-other
179  192  64 128  waterdrops
180   64 192  96  window-blind
181   64 160  64  window-other
182   64  64   0  wood
"""

LICENCE = "masks CC BY 4.0; pictures of Flickr under its terms"
CALVIN = "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset"


def _listed(split: str, pictures: int) -> Split:
    return Split(
        pictures,
        (
            Listed(
                lists=(f"cocostuff-10k-v1.1/imageLists/{split}.txt",),
                image="cocostuff-10k-v1.1/images/{}.jpg",
                mask="cocostuff-10k-v1.1/annotations/{}.mat",
                read=MatMask("S"),
            ),
        ),
    )


COCO_STUFF_10K = Declaration(
    name="coco_stuff_10k",
    title="COCO-Stuff 10k v1.1, on pictures of COCO 2014",
    licence=LICENCE,
    labels=Labels.from_table(TABLE, ignored=(0,)),
    splits={
        "train": _listed("train", 9000),
        "val": _listed("test", 1000),  # what papers validate on
        "test": _listed("test", 1000),
    },
    inside="cocostuff-10k-v1.1",
    archives=(
        Archive(
            name="cocostuff-10k-v1.1.zip",
            place="cocostuff-10k-v1.1",
            holds="imageLists",
            urls=(f"{CALVIN}/cocostuff-10k-v1.1.zip",),
        ),
    ),
)


def _matched(folder: str, pictures: int) -> Split:
    return Split(
        pictures,
        (
            Matched(
                image=(f"images/{folder}/{{}}.jpg", f"{folder}/{{}}.jpg"),
                mask=(f"annotations/{folder}/{{}}.png", f"stuffthingmaps/{folder}/{{}}.png"),
                only=str.isdigit,  # other tools put masks of their own beside, such as 000000000009_labelTrainIds.png
            ),
        ),
    )


COCO_STUFF_164K = Declaration(
    name="coco_stuff_164k",
    title="COCO-Stuff 164k, on COCO 2017",
    licence=LICENCE,
    labels=Labels.from_table(TABLE, ignored=(255,), shift=-1),
    splits={"train": _matched("train2017", 118287), "val": _matched("val2017", 5000)},
    archives=(
        Archive(
            name="train2017.zip",
            place="images/train2017",
            holds="*.jpg",
            urls=("http://images.cocodataset.org/zips/train2017.zip",),
            sha256="69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
            size=19336861798,
        ),
        Archive(
            name="val2017.zip",
            place="images/val2017",
            holds="*.jpg",
            urls=("http://images.cocodataset.org/zips/val2017.zip",),
            sha256="4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
            size=815585330,
        ),
        Archive(
            name="stuffthingmaps_trainval2017.zip",
            place="annotations",
            holds="train2017",
            urls=(f"{CALVIN}/stuffthingmaps_trainval2017.zip",),
        ),
    ),
)
