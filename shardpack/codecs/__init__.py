"""Field payloads to Python values and back. Payloads stay bytes unless decoding is requested.

field_types         what a field's name says
decode              payload -> value                                  (collate: values of a batch -> one array)
encode              value -> payload                                  (dict_keys: what JSON could not bring back)
  arrays            npy, npz
  compression       json.zst, json.gz                                 (zstd: the library)
  message_pack      msgpack
  label_types       types of label values over many samples
  encode_image      arrays and PIL images
image               images for training, by decoding names
  image_options     what a loader is asked for
  crop              which part is shown, and whether mirrored
  jpeg_turbo, opencv    faster libraries, where they are installed
  framed_labels     labels follow the part that is shown
image_codec         how images are stored anew
  still_image       an image by its header, decoded once              (image_size, colour, mask_image, pillow_versions)
  resize            the size it is stored in, the part that is kept
  jxl               JPEGs, smaller and back
geometry            what happened to the pixels
  move_label        labels follow them                                (coordinates: what must not go unnoticed)
    polygons, run_lengths   shapes that labels hold                   (label_words, unnamed_boxes: how they are found)
"""
