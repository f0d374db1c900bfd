import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
import s3fs


def test_s3fs_reads_what_it_wrote_and_ranges_of_it(s3: str) -> None:
    files = s3fs.S3FileSystem()
    files.pipe(f"{s3}/object", bytes(range(256)))
    assert files.cat(f"{s3}/object") == bytes(range(256))
    assert files.cat_file(f"{s3}/object", start=10, end=20) == bytes(range(10, 20))
    assert files.info(f"{s3}/object")["size"] == 256


def test_pyarrow_reads_the_table_it_wrote(s3: str) -> None:
    table = pa.table({"image_id": ["a", "b"], "view": [b"\x00\x01", b""]})
    files, path = pyarrow.fs.FileSystem.from_uri(f"{s3}/table/part.parquet")
    pq.write_table(table, path, filesystem=files)
    assert pq.read_table(f"{s3}/table").equals(table)


def test_a_test_finds_its_prefix_empty(s3: str) -> None:
    assert not s3fs.S3FileSystem().exists(s3)


def test_a_wrong_key_is_refused(s3: str) -> None:
    files = s3fs.S3FileSystem(key="nobody", secret="nothing")
    with pytest.raises(PermissionError):
        files.ls(s3)


@pytest.mark.usefixtures("ray_local")
def test_ray_workers_reach_it(s3: str) -> None:
    import ray

    s3fs.S3FileSystem().pipe(f"{s3}/object", b"seen")
    read = ray.remote(num_cpus=0.1)(lambda uri: s3fs.S3FileSystem().cat(uri))
    assert ray.get(read.remote(f"{s3}/object")) == b"seen"
