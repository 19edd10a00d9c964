"""Downloads, from a real server that serves well, drops, refuses ranges and sends wrong bytes."""

import contextlib
import hashlib
import http.server
import io
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from layouts import write_pair

from fcn.data import download
from fcn.data.datasets import open_dataset
from fcn.data.download import ARCHIVES, Archive, ensure
from fcn.errors import InputError

FOLDER = "ADEChallengeData2016"


class Site(http.server.ThreadingHTTPServer):
    """A server of one file, with the faults that a test gives it."""

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = body
        self.asked: list[str] = []  # the Range of each request
        self.drop_after = len(body)  # bytes of each answer that arrive
        self.drops = 0  # answers that break off so
        self.has_ranges = True
        self.says_length = True
        self.kind = "application/zip"
        self.status = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/data.zip"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        site = self.server
        wanted = self.headers.get("Range", "")
        site.asked.append(wanted)
        if site.status:
            self.send_error(site.status)
            return
        start = int(wanted[6:-1]) if wanted and site.has_ranges else 0
        if start >= len(site.body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", site.kind)
        if site.says_length:
            self.send_header("Content-Length", str(len(site.body) - start))
        self.end_headers()
        rest = site.body[start:]
        if site.drops:
            site.drops -= 1
            rest = rest[: site.drop_after]
        self.wfile.write(rest)

    def log_message(self, *args: object) -> None:
        pass


def zipped(fill: Callable[[zipfile.ZipFile], None]) -> bytes:
    """The bytes of a zip file."""
    with zipfile.ZipFile(stream := io.BytesIO(), "w") as file:
        fill(file)
    return stream.getvalue()


def pack(folder: Path) -> Callable[[zipfile.ZipFile], None]:
    """Put a folder's files into a zip file."""

    def fill(file: zipfile.ZipFile) -> None:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder))

    return fill


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An archive in Scene Parsing's layout, of a few hundred kilobytes."""
    folder = tmp_path_factory.mktemp("small")
    for split, count in (("training", 3), ("validation", 2)):
        for number in range(count):
            write_pair("scene_parsing", folder, split, f"{number:08}", [[1, 2, 150] * 100] * 300)
    return zipped(pack(folder))


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], Site]]:
    """Serve bytes as the archive of Scene Parsing."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    sites = []

    def serve(body: bytes) -> Site:
        site = Site(body)
        sites.append(site)
        threading.Thread(target=site.serve_forever, args=(0.01,), daemon=True).start()
        archive = Archive(site.url, len(body), hashlib.sha1(body).hexdigest(), 1000)
        monkeypatch.setitem(ARCHIVES, "scene_parsing", archive)
        return site

    yield serve
    for site in sites:
        site.shutdown()
        site.server_close()


def get(data: Path) -> None:
    ensure("scene_parsing", data, pause=0.01)


def test_the_published_archive_is_the_known_one() -> None:
    archive = ARCHIVES["scene_parsing"]
    assert archive.url.endswith(f"/{FOLDER}.zip")
    assert archive.size == 967_382_037
    assert archive.sha1 == "219e1696abb36c8ba3a3afe7fb2f4b4606a897c7"


def test_what_is_not_there_is_downloaded_and_opens(small, offer, tmp_path, capsys) -> None:
    site = offer(small)
    get(tmp_path / "data")
    assert len(open_dataset("scene_parsing", tmp_path / "data", "training")) == 3
    assert len(open_dataset("scene_parsing", tmp_path / "data", "val")) == 2
    assert site.asked == [""]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert site.url in shown.err and "100%" in shown.err and "may be deleted" in shown.err
    left = {path.name for path in (tmp_path / "data").iterdir()}
    assert left == {FOLDER, f"{FOLDER}.zip", f".{FOLDER}.lock"}


def test_what_is_there_is_left_alone(small, offer, tmp_path, capsys) -> None:
    site = offer(small)
    write_pair("scene_parsing", tmp_path, "validation", "a", [[1]])
    get(tmp_path)
    get(tmp_path / FOLDER)
    (tmp_path / FOLDER).rename(tmp_path / "renamed")
    get(tmp_path / "renamed")
    ensure("shapes", tmp_path / "nowhere")
    assert site.asked == []
    assert capsys.readouterr().err == ""
    assert len(open_dataset("scene_parsing", tmp_path / "renamed", "val")) == 1


def test_the_data_sets_own_folder_is_a_place_too(small, offer, tmp_path) -> None:
    offer(small)
    get(tmp_path / FOLDER)
    assert len(open_dataset("scene_parsing", tmp_path / FOLDER, "val")) == 2


@pytest.mark.parametrize("says_length", [True, False])
def test_a_dropped_connection_is_gone_on_with(small, offer, tmp_path, says_length) -> None:
    site = offer(small)
    site.drops, site.drop_after, site.says_length = 7, len(small) // 10, says_length
    get(tmp_path)
    assert len(open_dataset("scene_parsing", tmp_path, "val")) == 2
    starts = [int(wanted[6:-1]) for wanted in site.asked[1:]]
    assert starts == [len(small) // 10 * (i + 1) for i in range(7)]


def test_a_later_run_goes_on_where_one_was_stopped(small, offer, tmp_path) -> None:
    site = offer(small)
    (tmp_path / f"{FOLDER}.zip.part").write_bytes(small[:12345])
    get(tmp_path)
    assert site.asked == ["bytes=12345-"]
    assert (tmp_path / f"{FOLDER}.zip").read_bytes() == small


def test_a_whole_part_needs_no_network(small, offer, tmp_path) -> None:
    site = offer(small)
    (tmp_path / f"{FOLDER}.zip.part").write_bytes(small)
    get(tmp_path)
    assert site.asked == []


def test_a_server_that_refuses_ranges_starts_again(small, offer, tmp_path) -> None:
    site = offer(small)
    site.has_ranges, site.drops, site.drop_after = False, 1, 20000
    get(tmp_path)
    assert site.asked == ["", "bytes=20000-"]
    assert (tmp_path / f"{FOLDER}.zip").read_bytes() == small


def test_a_server_that_never_gets_further_is_given_up(small, offer, tmp_path) -> None:
    site = offer(small)
    site.has_ranges, site.drops, site.drop_after = False, 100, 20000
    with pytest.raises(InputError, match="cannot be reached"):
        get(tmp_path)
    assert len(site.asked) == 1 + download.TRIES
    assert not (tmp_path / FOLDER).exists()


def test_wrong_bytes_are_refused_and_deleted(small, offer, tmp_path) -> None:
    site = offer(small)
    site.body = bytes(len(small))
    with pytest.raises(InputError, match=r"SHA-1 .*deleted; .*put it into") as error:
        get(tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == [f".{FOLDER}.lock"]
    site.body = small
    get(tmp_path)
    assert len(open_dataset("scene_parsing", tmp_path, "val")) == 2


@pytest.mark.parametrize("size", [5, 400_000])
def test_a_page_in_place_of_the_archive_is_refused_at_once(small, offer, tmp_path, size) -> None:
    assert size != len(small)
    site = offer(small)
    site.body = b"<" * size
    with pytest.raises(InputError, match=rf"sends {size:,} bytes where {len(small):,}"):
        get(tmp_path)
    assert len(site.asked) == 1


def test_a_page_to_log_in_leaves_nothing(small, offer, tmp_path) -> None:
    site = offer(small)
    site.body, site.says_length, site.kind = b"<html>log in</html>", False, "text/html"
    with pytest.raises(InputError, match=r"cannot be reached \(it sends a page\)"):
        get(tmp_path)
    site.body, site.kind = small, "application/zip"
    get(tmp_path)
    assert site.asked == ["", ""]


def test_more_than_is_expected_is_never_written(small, offer, tmp_path) -> None:
    site = offer(small)
    site.body, site.says_length = small + bytes(10**6), False
    get(tmp_path)
    assert (tmp_path / f"{FOLDER}.zip").read_bytes() == small


@pytest.mark.parametrize("status", [404, 503])
def test_a_site_that_does_not_answer_is_one_sentence(small, offer, tmp_path, status) -> None:
    offer(small).status = status
    with pytest.raises(InputError, match=rf"cannot be reached \(.*{status}.*put it into") as error:
        get(tmp_path)
    assert str(error.value).endswith(str(tmp_path))


def test_an_archive_put_by_hand_needs_no_site(small, offer, tmp_path) -> None:
    site = offer(small)
    site.shutdown()
    site.server_close()
    with pytest.raises(InputError, match=rf"put it into {tmp_path}"):
        get(tmp_path)
    (tmp_path / f"{FOLDER}.zip").write_bytes(small)
    get(tmp_path)
    assert len(open_dataset("scene_parsing", tmp_path, "val")) == 2


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [(lambda body: body[:-1], "bytes where"), (lambda body: body[:-1] + b"x", "has the SHA-1")],
)
def test_a_spoilt_archive_put_by_hand_is_kept_and_named(
    small, offer, tmp_path, spoil, fault
) -> None:
    offer(small)
    path = tmp_path / f"{FOLDER}.zip"
    path.write_bytes(spoil(small))
    with pytest.raises(InputError, match=f"{path} .*{fault}.*; delete it"):
        get(tmp_path)
    assert path.exists()


def test_a_mirror_comes_from_the_environment(small, offer, tmp_path, monkeypatch) -> None:
    site = offer(small)
    other = Archive("http://127.0.0.1:1/", *list(vars(ARCHIVES["scene_parsing"]).values())[1:])
    monkeypatch.setitem(ARCHIVES, "scene_parsing", other)
    monkeypatch.setenv("FCN_SCENE_PARSING_URL", site.url)
    get(tmp_path)
    assert site.asked == [""]


def test_a_mirror_that_is_no_address_is_one_sentence(small, offer, tmp_path, monkeypatch) -> None:
    offer(small)
    monkeypatch.setenv("FCN_SCENE_PARSING_URL", "mirror.example/data.zip")
    with pytest.raises(InputError, match=r"mirror.example/data.zip is no web address.* http://"):
        get(tmp_path)


def test_a_full_disk_is_told_before_anything_is_fetched(
    small, offer, tmp_path, monkeypatch
) -> None:
    site = offer(small)
    large = Archive(site.url, len(small), ARCHIVES["scene_parsing"].sha1, 10**18)
    monkeypatch.setitem(ARCHIVES, "scene_parsing", large)
    with pytest.raises(InputError, match=r"GB free, but the data set needs 1000000000\.2; free"):
        get(tmp_path)
    assert site.asked == []


def test_a_folder_that_cannot_be_made_is_a_mistake(small, offer, tmp_path) -> None:
    site = offer(small)
    with pytest.raises(InputError, match="there is no folder .*nowhere"):
        get(tmp_path / "nowhere" / "data")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        get(tmp_path / "file")
    assert site.asked == []


@pytest.mark.parametrize("data", ["", "here/ADEChallengeData2016/images", "here/other"])
def test_a_data_set_that_lies_near_is_not_downloaded_again(small, offer, tmp_path, data) -> None:
    site = offer(small)
    write_pair("scene_parsing", tmp_path / "here", "validation", "a", [[1]])
    with pytest.raises(InputError, match=rf"did you mean --data {tmp_path / 'here'}\?"):
        get(tmp_path / data)
    assert site.asked == []


def test_nothing_is_downloaded_into_a_data_set_of_ones_own(small, offer, tmp_path) -> None:
    site = offer(small)
    write_pair("folder", tmp_path, "train", "a", [[1]])
    with pytest.raises(InputError, match="add --dataset folder$"):
        get(tmp_path)
    assert site.asked == []
    assert not list(tmp_path.glob("*ADE*"))


def test_the_full_ade20k_is_told_before_anything_is_fetched(small, offer, tmp_path) -> None:
    site = offer(small)
    (tmp_path / "ADE20K_2021_17_01").mkdir()
    with pytest.raises(InputError, match="full ADE20K release.* another archive"):
        get(tmp_path)
    assert site.asked == []


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", f"{FOLDER}/../../evil", "..\\evil"])
def test_no_path_leaves_the_folder(offer, tmp_path, name) -> None:
    offer(zipped(lambda file: file.writestr(name, "x")))
    with contextlib.suppress(InputError):  # what is left of some names is no data set
        get(tmp_path / "data" / "deep")
    outside = {*tmp_path.rglob("*evil*"), *Path("/tmp").glob("evil")}
    assert all(one.is_relative_to(tmp_path / "data" / "deep" / FOLDER) for one in outside)


KILLED = """
import sys, os, zipfile
from pathlib import Path
from fcn.data.download import _extract
extract, count = zipfile.ZipFile.extract, 0
def slow(*args):
    global count
    count += 1
    if count == 5:
        print("half", flush=True)
        sys.stdin.read()
    return extract(*args)
zipfile.ZipFile.extract = slow
_extract(Path(sys.argv[1]), sys.argv[2])
"""


def test_a_killed_extraction_leaves_nothing_that_looks_whole(small, offer, tmp_path, root) -> None:
    offer(small)
    path = tmp_path / f"{FOLDER}.zip"
    path.write_bytes(small)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), FOLDER],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "half\n"
    process.kill()
    process.communicate(timeout=60)
    assert list((tmp_path / f".{FOLDER}.extracting").rglob("*.*"))
    with pytest.raises(InputError, match="there is no folder"):
        open_dataset("scene_parsing", tmp_path, "val")
    get(tmp_path)
    assert len(open_dataset("scene_parsing", tmp_path, "val")) == 2
    assert not (tmp_path / f".{FOLDER}.extracting").exists()


def test_processes_that_share_a_folder_download_once(small, offer, tmp_path) -> None:
    site = offer(small)
    threads = [threading.Thread(target=get, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert site.asked == [""]
    assert len(open_dataset("scene_parsing", tmp_path, "val")) == 2
