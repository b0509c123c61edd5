"""Fetching resumes, falls back to mirrors, recognises pages, checks and records; offline it names the place."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import io
import json
import threading

import pytest
import torch

from rtx.errors import WeightsError
from rtx.files import file_sha256
from rtx.sources.catalog.rows import find
from rtx.sources.fetch import fetch
from rtx.sources.load import RECORD, check_recorded


def checkpoint(seed=0):
    buffer = io.BytesIO()
    torch.save({"w": torch.arange(5000.0) + seed}, buffer)
    return buffer.getvalue()


@pytest.fixture
def server():
    """A local server; `.files` are its pages, `.log` the requests with their ranges, `.cut` breaks first answers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            httpd = self.server
            data = httpd.files.get(self.path)
            wanted = self.headers.get("Range")
            httpd.log.append((self.path, wanted))
            if data is None:
                self.send_error(404)
                return
            tag = f'"{hashlib.md5(data).hexdigest()}"'
            start = int(wanted[6:-1]) if wanted and self.headers.get("If-Range") == tag else 0
            self.send_response(206 if start else 200)
            self.send_header("ETag", tag)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            body = data[start:]
            if httpd.cut:
                body = body[: httpd.cut.pop(0)]
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.files, httpd.log, httpd.cut = {}, [], []
    httpd.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()


def source(server, *paths, **facts):
    urls = tuple(server.url + path for path in paths)
    return dataclasses.replace(find("resnet50_ant"), urls=urls, **facts)


def test_a_file_is_fetched_and_its_hash_recorded(server, tmp_path):
    server.files["/a"] = checkpoint()
    path = fetch(source(server, "/a"), tmp_path / "deep" / "folder")
    assert path.read_bytes() == checkpoint()
    assert json.loads((path.parent / RECORD).read_text()) == {path.name: hashlib.sha256(checkpoint()).hexdigest()}
    assert {p.name for p in path.parent.iterdir()} == {path.name, RECORD}


def test_a_file_that_is_there_is_checked_and_not_fetched_again(server, tmp_path):
    server.files["/a"] = checkpoint()
    fetch(source(server, "/a"), tmp_path)
    fetch(source(server, "/a"), tmp_path)
    assert len(server.log) == 1


def test_a_broken_connection_is_resumed_where_it_broke(server, tmp_path):
    server.files["/a"] = checkpoint()
    server.cut = [7000, 4000]
    path = fetch(source(server, "/a"), tmp_path)
    assert path.read_bytes() == checkpoint()
    assert [wanted for _, wanted in server.log] == [None, "bytes=7000-", "bytes=11000-"]


def test_a_download_broken_off_in_another_session_is_resumed_but_never_mixed_with_another_file(server, tmp_path):
    server.files["/a"] = checkpoint()
    server.cut = [5000]
    with pytest.raises(WeightsError, match="5,000 of"):
        fetch(source(server, "/a"), tmp_path, attempts=1)
    server.files["/a"] = checkpoint(seed=1)
    assert fetch(source(server, "/a"), tmp_path).read_bytes() == checkpoint(seed=1)


def test_mirrors_are_tried_in_turn(server, tmp_path):
    server.files["/b"] = checkpoint()
    assert fetch(source(server, "/a", "/b"), tmp_path).read_bytes() == checkpoint()
    assert [path for path, _ in server.log] == ["/a", "/b"]


def test_a_page_instead_of_the_file_is_recognised_and_removed(server, tmp_path):
    server.files["/a"] = b"<!DOCTYPE html><html>Virus scan warning</html>"
    with pytest.raises(WeightsError, match="a web page") as caught:
        fetch(source(server, "/a"), tmp_path)
    assert list(tmp_path.iterdir()) == [] and len(server.log) == 1
    assert str(tmp_path / "ANT_Model.pth") in str(caught.value)


def test_another_hash_than_published_or_recorded_is_refused(server, tmp_path):
    server.files["/a"] = checkpoint()
    with pytest.raises(WeightsError, match="not the published"):
        fetch(source(server, "/a", sha256="ab" * 32), tmp_path)
    (tmp_path / "ANT_Model.pth").unlink()
    path = fetch(source(server, "/a"), tmp_path)
    path.write_bytes(checkpoint(seed=2))
    with pytest.raises(WeightsError, match="recorded in"):
        fetch(source(server, "/a"), tmp_path)
    with pytest.raises(WeightsError, match="recorded in"):
        check_recorded(path, file_sha256(path))


def test_another_size_than_published_is_refused(server, tmp_path):
    server.files["/a"] = checkpoint()
    with pytest.raises(WeightsError, match="published are 5"):
        fetch(source(server, "/a", size=5), tmp_path)


def test_without_a_connection_the_exact_place_is_named(server, tmp_path):
    offline = dataclasses.replace(find("resnet50_ant"), urls=("http://127.0.0.1:9/x/ANT_Model.pth",))
    with pytest.raises(WeightsError) as caught:
        fetch(offline, tmp_path, attempts=1)
    for text in ("http://127.0.0.1:9/x/ANT_Model.pth", str(tmp_path / "ANT_Model.pth"), "refused"):
        assert text in str(caught.value)


def test_progress_ends_at_the_size(server, tmp_path):
    server.files["/a"] = checkpoint()
    seen = []
    fetch(source(server, "/a"), tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(checkpoint()), len(checkpoint()))
