"""`open`, `pack` and `append`: their signatures, and what they promise."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from shardpack.errors import DatasetNotFoundError, OnError, OptionError
from shardpack.runtime.progress import Announce, Progress, no_announcement, no_progress
from shardpack.runtime.sizes import DEFAULT_MAX_SHARD_BYTES

# Each function imports what it needs when it is called.
if TYPE_CHECKING:
    from shardpack.dataset import Dataset
    from shardpack.edit.append import AppendReport
    from shardpack.edit.duplicates import OnDuplicate
    from shardpack.runtime.start_engine import EngineOption
    from shardpack.sources.formats.importer import Raw, Unpickle
    from shardpack.sources.image_check import ImageCheck
    from shardpack.storage.open import Writable
    from shardpack.storage.protocols import RangeReader
    from shardpack.write.pack import Packable
    from shardpack.write.report import PackReport


def open(  # noqa: A001 - the module's own `shardpack.open`, as the design names it
    location: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | RangeReader,
    *,
    verify: bool | None = None,
    index: Literal["memory"] | None = None,
    ignore: Sequence[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_bytes: int | str | None = None,
    sidecars: str | os.PathLike[str] | RangeReader | None = None,
    allow_locations: bool | Sequence[str] = False,
    generation: int | None = None,
) -> Dataset:
    """Return the dataset at a location. Costs one read, of the manifest.

    Args:
        location: A folder with a manifest, its URL (`s3://`, `gs://`, `az://`, `http(s)://`,
            `memory://`, or what fsspec has a driver for), or a store. With `index="memory"` also
            plain tars, named as `shardpack.index` takes them: a folder, a pattern, URLs, a list.
        verify: Whether to check the CRC32C of every payload that is read. None: only if it comes over a network.
        index: "memory" indexes plain tars now, for this object only: reads each tar once; of remote tars
            with large payloads, only the headers.
        ignore: With `index="memory"`: as `shardpack.index` takes it.
        storage_options: For URLs: region, endpoint, credentials and other options of the provider. By default
            the provider finds them itself: environment, instance role, and so on. Secret values are handed
            only to worker processes being spawned, never pickled otherwise. If the manifest is local, these
            options apply to its remote tars.
        cache_dir: For URLs: a folder on a local disk that keeps what was read, for later runs and other
            processes. Requires `cache_bytes`.
        cache_bytes: Size limit of that folder: a number of bytes, or like "50GB". What was not used for the
            longest time is deleted first.
        sidecars: Folder, URL or store with the manifest and indexes, if they are not at `location`: for tars
            whose sidecars were lost, or cannot be written beside them.
        allow_locations: Whether the manifest of a bucket or server may name tars in other buckets or on
            other hosts; or a list of URLs below which they may be. Its own bucket or host is always allowed.
        generation: The generation to open, as `ds.manifest.generation` numbers them; None for the newest.

    Raises:
        DatasetNotFoundError: The location has no manifest; the message says how to create one.
        OptionError: An option is wrong, or does not fit the location; or it does not have this generation.
        CorruptManifestError: The manifest is damaged.
        UnsupportedVersionError: The manifest was written by a newer version of the format.

    Example:
        >>> ds = shardpack.open("out/")
        >>> ds["cat/0001"].decode("json")
        {'label': 3}
    """
    from shardpack.dataset import open_dataset
    from shardpack.read.open_location import check_index_option, open_location
    from shardpack.storage.locations import LocationOptions

    for_datasets = {"sidecars": sidecars, "allow_locations": allow_locations or None, "generation": generation}
    check_index_option(index, ignore, for_datasets)
    options = LocationOptions(storage_options, cache_dir, cache_bytes, allow_locations)
    if index == "memory":
        from shardpack.index.run import index_location

        return open_dataset(index_location(location, options, ignore=ignore), verify=verify)
    store, sidecar_store = open_location(location, options, sidecars=sidecars)
    return open_dataset(store, verify=verify, sidecars=sidecar_store, generation=generation, options=options)


def pack(
    source: Packable,
    out: Writable,
    *,
    max_shard_bytes: int | str = DEFAULT_MAX_SHARD_BYTES,
    max_shard_samples: int | None = None,
    allow_oversized: bool = False,
    jobs: int | None = None,
    shuffle_seed: int | None = None,
    check_images: ImageCheck | None = None,
    check_labels: bool = False,
    on_error: OnError = "raise",
    layout: str = "auto",
    annotations: str | os.PathLike[str] | None = None,
    ignore: Sequence[str] = (),
    table: str | os.PathLike[str] | None = None,
    key_column: str | int | None = None,
    label_column: str | int | None = None,
    classes: Sequence[str] | None = None,
    split: str | None = None,
    rename_keys: bool = False,
    force: bool = False,
    dry_run: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    work_dir: str | os.PathLike[str] | None = None,
    progress: Progress = no_progress,
    announce: Announce = no_announcement,
    compress: Mapping[str, str] | None = None,
    frame_bytes: int | str | None = None,
    threads_per_job: int | None = None,
    allow_locations: bool | Sequence[str] = False,
    part: str | None = None,
    engine: EngineOption = None,
    transform: Callable[[dict[str, Any]], Any] | None = None,
    transform_version: str | None = None,
    decode: bool | Sequence[str] = False,
    fields: Sequence[str] | None = None,
    rename_field: Mapping[str, str] | None = None,
    sample_timeout: float | None = None,
    resize: str | None = None,
    encode: str | Mapping[str, str] | None = None,
    image: str | Sequence[str] | None = None,
    nearest: str | Sequence[str] | None = None,
    keep: str | Sequence[str] | None = None,
    labels: Literal["follow", "keep"] = "follow",
    first_frame: bool = False,
    source_format: str | None = None,
    unpickle: Unpickle | None = None,
    raw: Raw | None = None,
    with_table: bool = False,
) -> PackReport:
    """Pack images and labels into a dataset; return a report.

    The output is the same, byte for byte, for any `jobs`, on any machine, and after any number of
    interruptions: the same call continues an interrupted one.

    Args:
        source: A folder (class folders, sidecar files, a metadata table, or COCO); or a dataset, view, stream or mix,
            or the folder or URL of a dataset, whose samples are copied in its order; or any iterable of (key, fields),
            as `ShardWriter.write` takes them, or of samples. An iterable is packed by this process, one sample at a
            time, and starts over after an interruption. A file or folder of a foreign format is told by
            its names and first bytes; see `source_format`.
        out: Folder for the dataset, its URL (`s3://`, `gs://`, `az://`, `memory://`, or what fsspec has a driver
            for), or a writable store. A bucket has no locks: let only one packer at a time write to a target.
        max_shard_bytes: Hard cap on a finished tar: a number of bytes, or like "256MiB".
        max_shard_samples: Cap on the samples per shard; the cap that is reached first applies.
        allow_oversized: Give a sample beyond the cap its own shard, instead of raising an error.
        jobs: Number of worker processes; None: one per core, at most one per shard. An iterable is iterated by this
            process: only its samples' transform and encoding are work for others, and only if `jobs` or a transform
            asks for that.
        shuffle_seed: Pack in a random order drawn from this seed; None keeps the order of the source.
        check_images: "signature" checks the first bytes of each image, "decode" decodes each image.
        check_labels: Compare the size, boxes, polygons and key points of each label with its image.
        on_error: "raise", or "skip" to leave out samples with problems, which the report and `rejected.jsonl` list.
        layout: How to read the folder: the name of a layout, such as "classes", or "auto". All but "auto" also
            read the folder of a dataset as files.
        annotations: COCO annotation file; implies `layout="coco"`.
        ignore: Patterns of files to leave out of a folder, such as "*.csv"; one with a slash is compared with the path.
            Files that may hold labels and that the layout or format does not read are an error unless they are ignored.
        table: CSV, TSV, JSON Lines or Parquet file that describes the images, if it is not found by itself, or one of
            several is meant. Texts (`.txt`) are read as CSV, too.
        key_column: Name or number of the table's column that names the images; by default it is found by its values. Of
            rows of a foreign format, the column that becomes the key; ":row" stands for row numbers.
        label_column: Name or number of the column that becomes `label` and `class`: texts are numbered in their order,
            whole numbers are labels as they are. By default its name or the first rows decide.
        classes: Class names in the order of their labels, for a source without a list of its own.
        split: Pack only the split of this name, of a source with splits; its shards are then called
            `shard-000000.tar`. By default all splits are packed: the shards of one are called `train-000000.tar`, no
            shard holds samples of two, and `shuffle_seed` shuffles each. Not for an iterable.
        rename_keys: Escape unsafe keys reversibly, instead of refusing them.
        force: Replace an existing dataset.
        dry_run: Only plan; write nothing. The report shows three samples as they would be.
        storage_options: Options of the URL: region, endpoint, credentials and other options of the provider. By
            default the provider finds them itself: environment, instance role, and so on. Of two URLs they are for
            both, if these have the same scheme; otherwise for `out`.
        work_dir: For URLs: local folder for finished shards until they are uploaded; needs space for
            `jobs` + 1 shards. Default: the system's temporary folder.
        progress: Called as progress(phase, done, total) with the phases "list" (files), "check"
            (samples) and "pack" (bytes); a total of 0 is unknown.
        announce: Called, before the first shard is written, with a line that says what was found in the source and what
            a sample will be, which the report has, too; and with lines about files that are left out, patterns that
            match none, and images that are renamed to another format.
        compress: What is compressed with zstd. `{"shards": "zstd:3"}` writes `shard-000000.tar.zst`, which `zstd -d`
            and `tar --zstd` read, and of which single samples can be read; the caps then apply to the tars before
            compression, and the same bytes come out of the same version of libzstd only. `{"json": "zstd:9"}` stores
            each field `json` as `json.zst`.
        frame_bytes: How much of a tar is compressed together, at least: by default "16KiB". A larger value saves more;
            a sample is read together with its frame.
        threads_per_job: In how many threads BLAS, OpenMP and OpenCV compute in each worker process; by default 1, as
            the workers share the cores already. `OMP_NUM_THREADS` and the like have no say here. Not for an iterable.
        allow_locations: For the folder or URL of a dataset, as `open` takes it.
        part: "2/4" makes the second quarter of the shards, so that four machines that share nothing but source and
            target pack one dataset: the part that finishes last publishes it. Names, sizes and times of the source's
            files must be the same for all parts. Any part may be repeated. Not for an iterable.
        engine: None for worker processes; "ray" for the Ray cluster that `RAY_ADDRESS` names, or else one that runs on
            this machine, with `jobs` tasks at once, by default as many as it has cores; or any `Engine`, such as
            `shardpack.ray.RayEngine`. Each node of a cluster must see the source at the same path and reach the target.
            Not for an iterable.
        transform: A function of the user that each sample passes through, in other processes. It gets a dict of the
            fields as bytes, with the key as `"__key__"` and as `"__seed__"` a number below 2**32 that depends on the
            key and `shuffle_seed` alone, and returns fields: bytes, or values that `ShardWriter.write` takes. None
            drops the sample; a list makes several, called `key-0`, `key-1`, ... unless they have a `"__key__"` of
            their own.
            One that raises an error, hangs or ends its process names the sample, and follows `on_error`. Shards are
            then called `shard-000012-00.tar`: chunk 12 of the source, its first shard.
        transform_version: Text that stands for what the function does; by default a hash of its source and of what
            that uses. A run continues only one with the same.
        decode: Names of the fields that the function gets decoded, as `Sample.decode` does; True for all that can be.
            What comes back as it was is not encoded again.
        fields: Which fields are packed; by default all.
        rename_field: Old name -> new name of fields.
        sample_timeout: Seconds that the transform of a sample may take; by default any time.
        resize: Size of images: "short=256", "long=512", "fit=640x480", "cover=224x224", "exact=224x224"; never larger
            than they were, unless ":up" is behind. Masks follow by nearest neighbour, and labels of boxes, too.
        encode: Codec of images: "jpg:q=90", "webp:q=85", "webp:lossless", "avif:q=75", "png", "npy", "npy:rgb", "jxl";
            or a dict from field to codec, where "*" is every other image. `codecs/README.md` says what becomes of
            orientation, profiles, alpha, 16 bits and animations. A lossy image that is not resized and would
            become larger keeps its bytes and its name.
        image, nearest, keep: For samples with several images: names of the fields that are images, that are masks, and
            that stay as they are. `seg.png`, `mask.png` and `panoptic.png` are masks without being named.
        labels: "keep" leaves labels as they are where their coordinates cannot follow the image.
        first_frame: Take the first frame of animations; they stay as they are otherwise.
        source_format: The foreign format of a file or folder, such as "tfrecord": `sources/formats/README.md` lists
            them. By default it is told by names and first bytes; of a URL it must be said.
        unpickle: What pickled values of a foreign format may hold: "plain" (numbers, texts, bytes and what contains
            them) or "numpy" (arrays besides). Refused by default.
        raw: Field for raw pixels of a foreign format: "png", without loss, or "npy".
        with_table: Make the label table, too, as generation 2: of the shards as they are written, or before they are
            uploaded, so that nothing is fetched back but what an earlier run or another process has delivered.

    Returns:
        What was packed, and which samples were left out.

    Raises:
        SourceError: The source has problems: the first few are named, all are counted.
        OutputExistsError: `out` already holds a dataset.
        StorageError: The disk or the bucket refused; finished shards are kept for the next call.
    """
    from shardpack.storage.url import scheme_of
    from shardpack.write.pack import pack_source
    from shardpack.write.request import PackRequest

    dataset = None
    if source_format is None and layout == "auto" and annotations is None:
        dataset = dataset_to_pack(source, out, storage_options=storage_options, allow_locations=allow_locations)
    if dataset is not None:
        source, storage_options = dataset, storage_options if scheme_of(out) else None
    elif allow_locations:
        raise OptionError("allow_locations is for the folder or URL of a dataset; leave it out")
    request = PackRequest(
        max_shard_bytes=max_shard_bytes,
        max_shard_samples=max_shard_samples,
        allow_oversized=allow_oversized,
        jobs=jobs,
        shuffle_seed=shuffle_seed,
        check_images=check_images,
        check_labels=check_labels,
        on_error=on_error,
        layout=layout,
        annotations=annotations,
        ignore=ignore,
        table=table,
        key_column=key_column,
        label_column=label_column,
        classes=classes,
        split=split,
        rename_keys=rename_keys,
        force=force,
        dry_run=dry_run,
        storage_options=storage_options,
        work_dir=work_dir,
        progress=progress,
        announce=announce,
        compress=compress,
        frame_bytes=frame_bytes,
        threads_per_job=threads_per_job,
        part=part,
        engine=engine,
        transform=transform,
        transform_version=transform_version,
        decode=decode,
        fields=fields,
        rename_field=rename_field,
        sample_timeout=sample_timeout,
        resize=resize,
        encode=encode,
        image=image,
        nearest=nearest,
        keep=keep,
        labels=labels,
        first_frame=first_frame,
        source_format=source_format,
        unpickle=unpickle,
        raw=raw,
    )
    if with_table:
        from shardpack.edit.pack_table import pack_with_table

        return pack_with_table(source, out, request, storage_options=storage_options)
    return pack_source(source, out, request)


def append(
    source: Packable,
    dataset: Writable,
    *,
    on_duplicate: OnDuplicate = "raise",
    classes: Sequence[str] | Literal["same"] | None = None,
    split: str | None = None,
    reconcile: bool = False,
    single_writer: bool = False,
    allow_locations: bool | Sequence[str] = False,
    **options: Any,
) -> AppendReport:
    """Add the samples of a source to a dataset; return a report.

    Makes the next generation of the dataset: new shards behind the old ones, which stay as they are. The same call
    continues an interrupted one, and one that was refused because another edit came first. The labels that are appended
    have the numbers of the dataset's classes; classes that it does not know come at the end of its list.

    Args:
        source: What `pack` takes.
        dataset: Folder or URL of the dataset, or a store that can be written to.
        on_duplicate: What to do with samples whose keys the dataset has: "raise" refuses all, "replace" deletes the old
            sample of the dataset and appends the new one.
        classes: Class names in the order of the numbers in the source, for a source without a list of its own; "same"
            if its numbers are those of the dataset. Samples from code have those unless this says otherwise.
        split: The split that the samples go to; of a source with splits, the one that is taken. By default samples are
            in the split of the dataset that is called like theirs.
        reconcile: Renumber the labels of a source that is a dataset with another class list, instead of refusing it.
        single_writer: Promise that nobody else edits the dataset meanwhile: only for stores that cannot create an
            object only if it is absent.
        allow_locations: For both datasets, as `open` takes it.
        **options: All other options of `pack`, but `force` and `part`. Limits and compression of shards, and
            `rename_keys`, are by default those that the dataset was packed with.

    Raises:
        DuplicateKeyError: The dataset has keys of the source. Nothing was changed; shards that were made before this
            was known are kept for the same call with `on_duplicate="replace"`.
        OptionError: It is not clear what labels mean, or which splits samples are in; the message says how to tell.
        SourceError: The source has problems: the first few are named, all are counted.
        DatasetNotFoundError: `dataset` does not hold a dataset.
        OutputExistsError: Another edit came first, or another process is writing there. What is finished is kept.
        StorageError: The disk or the bucket refused; finished shards are kept for the next call.
    """
    from shardpack.edit.append import append_source
    from shardpack.storage.url import scheme_of

    said = {name: options.get(name) for name in ("source_format", "annotations")}
    opened = None
    if options.get("layout", "auto") == "auto" and not any(said.values()):
        storage_options = options.get("storage_options")
        opened = dataset_to_pack(source, dataset, storage_options=storage_options, allow_locations=allow_locations)
    if opened is not None:
        source = opened
        options["storage_options"] = options.get("storage_options") if scheme_of(dataset) else None
    return append_source(
        source,
        dataset,
        on_duplicate=on_duplicate,
        classes=classes,
        split=split,
        reconcile=reconcile,
        single_writer=single_writer,
        allow_locations=allow_locations,
        options=options,
    )


def dataset_to_pack(
    source: Packable,
    out: Writable,
    *,
    storage_options: Mapping[str, Any] | None,
    allow_locations: bool | Sequence[str],
) -> Dataset | None:
    """Return the dataset of which a source is the folder or URL; None for all others. Arguments as for `pack`."""
    from shardpack.sources.dataset_path import dataset_path, no_dataset_at
    from shardpack.storage.url import options_for

    path = dataset_path(source)
    if path is None:
        return None
    try:
        return open(path, storage_options=options_for(path, out, storage_options), allow_locations=allow_locations)
    except DatasetNotFoundError as error:
        raise no_dataset_at(path) from error
