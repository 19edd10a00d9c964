"""The example photos that installed packages bring along."""

from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.utils import get_upload_folder, is_in_or_equal

from fcn.demo import examples
from fcn.photo import open_photo

FOUND = examples.find_examples([])


def test_every_example_is_installed():
    assert [one.title for one in FOUND] == [title for title, *_ in examples.EXAMPLES]


@pytest.mark.parametrize("example", FOUND, ids=lambda one: one.title)
def test_an_example_is_a_photo(example):
    assert min(open_photo(example.file).size) >= 200


@pytest.mark.parametrize(
    ("classes", "first"), [(["Sky", "Building", "Car"], "Tower"), (["cat", "dog"], "Lion")]
)
def test_first_example_shows_what_the_network_finds(classes, first):
    assert examples.find_examples(classes)[0].title == first


def test_absent_examples_are_left_out(monkeypatch):
    absent = ("No package", "no_such_package", "photo.jpg", ())
    gone = ("No file", "gradio", "no_such_photo.jpg", ())
    monkeypatch.setattr(examples, "EXAMPLES", (absent, *examples.EXAMPLES[:1], gone))
    assert [one.title for one in examples.find_examples([])] == ["Tower"]


def test_every_example_has_a_button():
    with gr.Blocks():
        buttons = examples.build_examples(FOUND, gr.Image())
    assert [one["title"] for one in buttons.value] == [one.title for one in FOUND]
    assert all("/gradio_api/file=" in one["thumbnail"]["url"] for one in buttons.value)


def test_an_example_is_given_from_a_folder_that_the_server_serves():
    with gr.Blocks() as page:
        examples.build_examples(FOUND, gr.Image())
    (choose,) = (one.fn for one in page.fns.values())
    for index, example in enumerate(FOUND):
        given = choose(SimpleNamespace(index=index))
        assert is_in_or_equal(given, get_upload_folder())
        assert given.endswith(example.file.name)
