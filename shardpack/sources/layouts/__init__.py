"""The layouts of images and their labels, one a module; `layout.py` says what a layout is, `detect.py` chooses one."""

from __future__ import annotations

from shardpack.sources.layouts.captions import Captions
from shardpack.sources.layouts.classes import ClassFolders
from shardpack.sources.layouts.coco import Coco
from shardpack.sources.layouts.cvat import Cvat
from shardpack.sources.layouts.imagenet import ImageNet
from shardpack.sources.layouts.img2dataset import Img2Dataset
from shardpack.sources.layouts.labelme import LabelMe
from shardpack.sources.layouts.masks import Masks
from shardpack.sources.layouts.ocr import Ocr
from shardpack.sources.layouts.open_images import OpenImages
from shardpack.sources.layouts.sidecars import SidecarFiles
from shardpack.sources.layouts.table import Table
from shardpack.sources.layouts.views import Views
from shardpack.sources.layouts.voc import Voc
from shardpack.sources.layouts.yolo import Yolo

LAYOUTS = (
    ClassFolders(),
    SidecarFiles(),
    Table(),
    Captions(),
    Coco(),
    Yolo(),
    Voc(),
    Masks(),
    Views(),
    LabelMe(),
    Cvat(),
    OpenImages(),
    Ocr(),
    Img2Dataset(),
    ImageNet(),
)
