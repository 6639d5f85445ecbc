"""Words in the names of labels: those that say that numbers are coordinates, and those that say that they are not."""

from __future__ import annotations

import re
from functools import lru_cache

_LISTS = """
    bb bbox bboxes bbs bl bndbox bndboxes bottomleft bottomright box boxes br center centers centre centres centroid
    centroids contour contours coord coordinate coordinates coords corner corners crop crops cuboid cuboids cxcywh
    ellipse eye eyes face faces joint joints keypoint keypoints keypts kp kps kpts landmark landmarks lefttop lms
    lowerleft lowerright ltrb ltwh mouth nose obb point points poly polygon polygons polyline polylines polys pose pt
    pts quad rect rectangle rectangles rects region regions rightbottom rle rles roi rois segmentation segmentations
    segments tl tlbr tlwh topleft topright tr upperleft upperright vertex vertices xywh xyxy
"""
_NUMBERS = "cx cy x0 x1 x2 x3 xbr xc xcenter xmax xmin xtl y0 y1 y2 y3 ybr yc ycenter ymax ymin ytl"
_OTHERS = """
    argb average avg bgr bgra cmyk color colors colour colours hsl hsv mean means median palette rgb rgba std stds
    hist histogram max min moments percentile percentiles quantile quantiles quartile quartiles stat stats var variance
    emb embedding embeddings feat feats feature features logit logits prob probabilities probability probs quat
    quaternion score scores vec vector vectors weight weights
    attr attribute attributes attrs categories category class classes code codes count counts date dim dims id ids
    idx index indices label labels shape size sizes tag tags time timestamp timestamps token tokens version
    exposure license licenses neighbor neighbors neighbour neighbours rank ranks rating ratings relevance synset
    synsets topk vote votes year years
"""
LISTS = frozenset(_LISTS.split())  # several numbers under these names are coordinates
NUMBERS = frozenset(_NUMBERS.split())  # and one under these
OTHERS = frozenset(_OTHERS.split())  # four numbers under these are no box
_PART = re.compile(r"[A-Z]?[a-z]+[0-9]*|[A-Z]+|[0-9]+")


@lru_cache(maxsize=4096)  # the same names come in every label
def words_of(name: str) -> frozenset[str]:
    """Return the words of a name in lower case, with and without digits, and the whole: "bbox", "xyxy", "bboxxyxy"."""
    words = {part.lower() for part in _PART.findall(name)} | {re.sub(r"[^a-z0-9]", "", name.lower())}
    return frozenset(words | {word.rstrip("0123456789") for word in words})
