"""Downloads from a local server that returns wrong or truncated content, or changes the file."""

import hashlib
import http.server
import io
import threading

import pytest
import torch

from smallvit.engine.checkpoint import downloads
from smallvit.engine.checkpoint.reading import load_from_http
from smallvit.errors import CheckpointError


def weights(value):
    buffer = io.BytesIO()
    torch.save({"state_dict": {"w": torch.full((1000,), float(value))}}, buffer)
    return buffer.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        answers = self.server.answers[self.path]
        status, content, length = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        if status == 302:
            self.send_header("Location", content.decode())
            content = b""
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


class Server:
    """A server that records its requests; ``give`` lists its responses in order."""

    def __init__(self):
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.answers, self.http.asked = {}, []
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def give(self, path, *contents, status=200, length=...):
        self.http.answers[path] = [
            (status, content, len(content) if length is ... else length) for content in contents
        ]
        return f"http://127.0.0.1:{self.http.server_port}{path}"

    @property
    def asked(self):
        return self.http.asked


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setattr(downloads, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(downloads.torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    found = Server()
    yield found
    found.http.shutdown()
    found.http.server_close()


def value_of(url):
    return load_from_http(url, "cpu", progress=False)["state_dict"]["w"][0].item()


def left(tmp_path):
    return [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_same_name_of_two_addresses_is_two_files(server):
    one = server.give("/a/model.pth", weights(1))
    other = server.give("/b/model.pth", weights(2))
    queried = server.give("/a/model.pth?version=3", weights(3))
    assert [value_of(url) for url in (one, other, queried, one, other, queried)] == [1, 2, 3] * 2
    assert len(server.asked) == 3


def test_truncated_downloads_are_retried(server, tmp_path):
    content = weights(1)
    url = server.give("/model.pth", content[:1000], content, length=len(content))
    assert value_of(url) == 1
    assert len(server.asked) == 2
    assert len(left(tmp_path)) == 2


def test_permanently_truncated_downloads_are_not_kept(server, tmp_path):
    content = weights(1)
    url = server.give("/model.pth", content[:1000], length=len(content))
    with pytest.raises(
        CheckpointError, match=rf"model\.pth: received 1000 of {len(content)} bytes"
    ):
        value_of(url)
    assert left(tmp_path) == []
    server.give("/model.pth", content)
    assert value_of(url) == 1


def test_truncated_downloads_without_content_length_are_retried(server):
    content = weights(1)
    url = server.give("/model.pth", content[:1000], content, length=None)
    with pytest.raises(CheckpointError, match=r"model\.pth: damaged"):
        value_of(url)
    assert value_of(url) == 1


def test_a_download_that_was_damaged_on_the_disk_is_fetched_again(server, tmp_path):
    url = server.give("/model.pth", weights(1))
    value_of(url)
    path = next(path for path in left(tmp_path) if path.suffix == ".pth")
    for damaged in (path.read_bytes()[:100], weights(2), b""):
        path.write_bytes(damaged)
        assert value_of(url) == 1
    assert len(server.asked) == 4


def test_the_digest_in_the_name(server, tmp_path):
    content = weights(1)
    digest = hashlib.sha256(content).hexdigest()
    assert value_of(server.give(f"/m-{digest[:8]}.pth", content)) == 1
    assert value_of(server.give(f"/m-20240101-{digest[:12]}.pth", content)) == 1
    assert value_of(server.give("/m-20240101.pth", content)) == 1  # a date, not a digest
    before = left(tmp_path)
    with pytest.raises(CheckpointError, match=r"SHA-256 starting with 01234567 .* for \d+"):
        value_of(server.give("/m-01234567.pth", content))
    assert left(tmp_path) == before


def test_files_in_torch_s_cache_are_used_if_their_name_has_the_digest(server, tmp_path):
    content = weights(1)
    digest = hashlib.sha256(content).hexdigest()[:8]
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / f"m-{digest}.pth").write_bytes(content)
    (cache / "model.pth").write_bytes(weights(7))
    assert value_of(server.give(f"/m-{digest}.pth", weights(9))) == 1
    assert value_of(server.give("/model.pth", weights(2))) == 2
    assert server.asked == ["/model.pth"]


def test_server_errors_are_retried_and_client_errors_are_not(server):
    url = server.give("/model.pth", b"busy", status=503)
    server.http.answers["/model.pth"].append((200, weights(1), None))
    assert value_of(url) == 1
    url = server.give("/none.pth", b"no", status=404)
    with pytest.raises(CheckpointError, match=r"cannot download .*none\.pth: .*404 Not Found"):
        value_of(url)
    assert server.asked == ["/model.pth", "/model.pth", "/none.pth"]


def test_plain_http_gives_a_warning(server, monkeypatch):
    said = []
    monkeypatch.setattr(downloads, "print_log", lambda text, **_: said.append(text))
    value_of(server.give("/model.pth", weights(1)))
    assert "model.pth is not encrypted" in said[0]
    assert "Use https" in said[0]


def test_unreachable_server(server):
    url = server.give("/model.pth", weights(1))
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(CheckpointError, match=r"cannot download .*model\.pth: .*refused"):
        value_of(url)


@pytest.mark.parametrize(
    "path", ["/", "/..%2f..%2fevil.pth", "/a%00b.pth", "/.hidden", "/" + "x" * 500 + ".pth"]
)
def test_names_cannot_leave_the_cache(server, path, tmp_path):
    assert value_of(server.give(path, weights(1))) == 1
    assert all((tmp_path / "hub" / "checkpoints") in found.parents for found in left(tmp_path))
