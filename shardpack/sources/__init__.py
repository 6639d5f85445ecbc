"""What can be packed: folders, with tables or COCO annotations, and datasets. Each is listed as a `Listing`."""
