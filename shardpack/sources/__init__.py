"""Where samples come from: folders, tables, COCO. Each returns a `Listing` and reads no image."""
