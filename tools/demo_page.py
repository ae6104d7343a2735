"""The one page that `make demo` ends in: chapters of pictures and words, everything inside the file."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import jinja2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (H, W, 3) RGB

TEMPLATE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
  :root { color-scheme: light dark; --line: #8886; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; }
  section { border-top: 1px solid var(--line); padding: 1rem 0; }
  .row { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-end; }
  figure { margin: 0; max-width: 100%; }
  img { max-width: 100%; height: auto; display: block; border-radius: 4px; }
  .pixels { image-rendering: pixelated; }
  figcaption { font-size: .85rem; opacity: .8; max-width: 22rem; }
  pre { overflow-x: auto; background: #8882; padding: .6rem; border-radius: 4px; }
  .wide { overflow-x: auto; }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
  th, td { padding: .2rem .8rem .2rem 0; text-align: right; border-bottom: 1px solid var(--line); }
  th:first-child, td:first-child { text-align: left; }
</style>
<h1>{{ title }}</h1>
<p>{{ lead }}</p>
{% for chapter in chapters %}
<section>
<h2>{{ loop.index }}. {{ chapter.title }}</h2>
<p>{{ chapter.text }}</p>
{% if chapter.commands %}<pre>{{ chapter.commands | join("\n") }}</pre>{% endif %}
<div class="row">
{% for figure in chapter.figures %}
<figure><img{% if figure.enlarged %} class="pixels"{% endif %} src="{{ figure.source }}"
  alt="{{ figure.caption }}" width="{{ figure.width }}"><figcaption>{{ figure.caption }}</figcaption></figure>
{% endfor %}
</div>
{% if chapter.table %}
<div class="wide"><table>
<tr>{% for cell in chapter.table[0] %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in chapter.table[1:] %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div>
{% endif %}
</section>
{% endfor %}
</html>
"""


@dataclass(frozen=True)
class Figure:
    """A picture with its caption, `width` CSS pixels wide; small ones are enlarged without smoothing."""

    source: str
    caption: str
    width: int
    enlarged: bool = False


@dataclass(frozen=True)
class Chapter:
    """One part of the story; the table's first row is its head."""

    title: str
    text: str
    commands: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    table: Sequence[Sequence[str]] = field(default_factory=list)


def figure(picture: Picture, caption: str, width: int, *, jpeg: bool = False) -> Figure:
    """An RGB picture inside the page: PNG, or JPEG of quality 92 where `jpeg` is set."""
    suffix, flags = (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 92]) if jpeg else (".png", [])
    _, data = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
    kind = "jpeg" if jpeg else "png"
    return Figure(_data_uri(data.tobytes(), kind), caption, width, enlarged=width > picture.shape[1])


def plot_figure(path: Path, caption: str, width: int) -> Figure:
    """A PNG file inside the page, as it is."""
    return Figure(_data_uri(path.read_bytes(), "png"), caption, width)


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def render(title: str, lead: str, chapters: Sequence[Chapter]) -> str:
    """The whole page as HTML."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(TEMPLATE).render(title=title, lead=lead, chapters=chapters)
