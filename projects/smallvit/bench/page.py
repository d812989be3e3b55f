"""Template, style and script of the report.

Jinja2 escapes every value: names come from folders, plans and logs, and none is marked as safe.
"""

from __future__ import annotations

from typing import Any

STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; }
h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: .8rem 0; display: block; overflow-x: auto; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right;
  vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
.plain td, .plain th { text-align: left; }
thead th { background: #f2f2f2; }
.sortable th { cursor: pointer; }
.sortable th[aria-sort=ascending]::after { content: " \\25B2"; }
.sortable th[aria-sort=descending]::after { content: " \\25BC"; }
td.best { font-weight: bold; }
td { font-variant-numeric: tabular-nums; overflow-wrap: break-word; }
p, li { overflow-wrap: anywhere; }
td:first-child { min-width: 8rem; overflow-wrap: anywhere; }
table:not(.sortable) td:last-child { min-width: 8rem; }
@media (max-width: 40rem) { table:not(.sortable) td { min-width: 6.5rem; } }
figure { margin: 1.2rem 0; }
figure img { max-width: 100%; height: auto; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr));
  gap: .6rem; }
.gallery figure { margin: 0; overflow-wrap: anywhere; }
.gallery img { width: 64px; image-rendering: pixelated; }
.warning { background: #fff3cd; border-left: 4px solid #b8860b; padding: .4rem .7rem; }
figcaption, .note { color: #555; font-size: .9rem; }
pre { background: #f2f2f2; padding: .6rem; white-space: pre-wrap; overflow-wrap: anywhere; }
"""

SCRIPT = """\
for (const table of document.querySelectorAll("table.sortable")) {
  const titles = [...table.tHead.rows[0].cells];
  titles.forEach((title, column) => title.addEventListener("click", () => {
    const up = title.getAttribute("aria-sort") === "descending";
    titles.forEach((each) => each.removeAttribute("aria-sort"));
    title.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => row.cells[column].dataset.order;
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      const numbers = !isNaN(x) && !isNaN(y);
      return (numbers ? x - y : x.localeCompare(y)) * (up ? 1 : -1);
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  }));
}
"""

TEMPLATE = """\
{%- macro table(titles, rows, kind="") -%}
<table{% if kind %} class={{ kind }}{% endif %}><thead><tr>
{%- for title in titles %}<th>{{ title }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows -%}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>
{%- endmacro -%}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>smallvit bench</title>
<style>
{% include "style" %}
</style>
</head>
<body>
<h1>Which method helps on these images?</h1>
<p class="{{ "note" if size[0] else "warning" }}">{{ size[1] }}</p>
{% if missing %}<p class=warning>{{ missing }}</p>
{% endif -%}
<ul>
{% for each in answers -%}
<li>Trained on {{ each.trained_on }}, <b>{{ each.best }}</b> is best: {{ each.accuracy }}%
{%- if each.interval %} (95% interval over test images: {{ "%.2f" | format(each.interval[0]) }} to
{{ "%.2f" | format(each.interval[1]) }}%){% endif %}
{%- if each.ties and each.one_seed %}; one seed, so it is unknown whether it differs from
{{ each.ties | join(", ") }}
{%- elif each.ties %}; not significantly different: {{ each.ties | join(", ") }}{% endif %}.
{%- if each.rising %} <b>Still rising</b>, so longer training may change the ranking:
{{ each.rising | join(", ") }} ({{ each.way_on }}).{% endif %}
{%- if each.unknown %} Too few validations to see whether these still rise:
{{ each.unknown | join(", ") }}.{% endif %}
{%- if each.no_better_than_guessing %} No better than chance:
{{ each.no_better_than_guessing | join(", ") }}.{% endif %}</li>
{% endfor -%}
{% for each in notes %}<li>{{ each }}</li>
{% endfor -%}
</ul>
<h2>Results</h2>
<p>Mean and standard deviation of the test {{ metric }} in percent over the seeds; the best value in
each column is bold. Click a column title to sort.</p>
<table class=sortable><thead><tr>
{%- for title in results.header %}<th>{{ title }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in results.rows -%}
<tr>{% for cell in row %}<td data-order="{{ cell.order }}"{% if cell.best %} class=best{% endif %}>
{{- cell.text }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>
<p class=note>{{ cost_note }}</p>
{% if metrics.names -%}
<h3>All test metrics</h3>
<p>Means over the seeds in percent, as the evaluator of the task names them.</p>
{{ table(["method"] + metrics.names, metrics.rows) }}
{% endif -%}
{% for each in figures -%}
<figure><img alt="{{ each.caption }}" src="data:image/png;base64,{{ each.data }}">
<figcaption>{{ each.caption }}</figcaption></figure>
{% endfor -%}
<h2>Significance tests</h2>
{% if classified -%}
<p>Best method minus other method, in points. Two sources of variation are tested: the seed (subset,
initial weights and order of the images; t-test within seeds, because all methods share the subset
of a seed, with one variance for all methods, as in a randomized block design), and the test images
(McNemar's exact test on the images that only one of the two networks classifies correctly; for
several seeds, twice the median p-value). The p-values are corrected for the number of comparisons
in this table with Holm's method; the intervals are not. A difference is significant if both
p-values are below 0.05. The best method is selected on these results, which biases it slightly
upwards.</p>
{% else -%}
<p>Best method minus other method, in points. The variation over the seeds (initial weights and
order of the images) is tested by a t-test within seeds, with one variance for all methods, as in a
randomized block design. The p-values are corrected for the number of comparisons in this table with
Holm's method; the intervals are not. A difference is significant if its p-value is below 0.05. The
best method is selected on these results, which biases it slightly upwards.</p>
{% endif -%}
{{ table(["trained on", "best", "other", "difference", "95% interval", "p, seeds", "p, images",
"verdict"], differences) }}
<h2>Convergence and learning rates</h2>
<p>The interval over test images is Wilson's interval for the mean over the seeds. Whether a curve
still rises is determined before the learning rate decays; after that, every curve rises and then
flattens.{% if settings.schedule == "cosine" %} The cosine schedule decays from the start, so that
the gain of longer training is overestimated here.{% endif %}</p>
{{ table(["trained on", "method", metric, "95% interval, test images", "steps",
"validation curve"], reached) }}
{% if trials -%}
<p>Learning rates relative to the recipe's, with the validation {{ metric }} of a short trial with
the first seed. {{ "Trials are part of the budget; their" if in_minutes else "Their" }} time is not
included in the column "training".</p>
{{ table(["trained on", "method", "chosen", "trials", "time"], trials) }}
{% endif -%}
{% if pretrainings -%}
<h2>Pretraining</h2>
<p>Self-supervised pretraining on unlabeled images; its time is included in the column "training".
Statistics of the features of training images: rank (effective), spread (0: all alike, 1: random
directions) and, if folders are classes, nearest-neighbor accuracy (knn, in percent); means over the
seeds.</p>
{{ table(["trained on", "method", "pretraining", "images", "steps", "time", "share of run",
"features"], pretrainings) }}
{% endif -%}
{% if best -%}
<h2>Best method: {{ best.title }}</h2>
<h3>Commands</h3>
<p>These use the run with seed {{ best.run.seed }}, the best one on the validation images. The file
contains weights, config and class names.</p>
<pre>{{ best.commands | join("\n") }}</pre>
{% if best.classes -%}
<h3>Per-class accuracy</h3>
<p>Sorted from worst to best; all seeds combined.</p>
{{ table(["class", "test images", "accuracy, %", "confused with"], best.classes) }}
{% endif -%}
{% if best.matrix -%}
<details><summary>Confusion matrix (rows: true class, columns: predicted class)</summary>
{{ table([""] + best.names, best.matrix) }}</details>
{% endif -%}
{% if best.mistakes -%}
<h3>Most confident errors</h3>
<div class=gallery>
{% for each in best.mistakes -%}
<figure>{% if each.picture %}<img alt="{{ each.image }}" src="data:image/png;base64,
{{- each.picture }}">{% endif %}<figcaption><b>{{ each.right }}</b>, predicted as
<b>{{ each.said }}</b> ({{ "%.0f" | format(100 * each.confidence) }}%): {{ each.image }}
</figcaption></figure>
{% endfor -%}
</div>
{% endif -%}
{% endif -%}
<h2>Limitations</h2>
<ul>{% for each in caveats %}<li>{{ each }}</li>{% endfor %}</ul>
{% if failures -%}
<h2>Failed runs</h2>
<p>Run the same command again to retry them.</p>
{{ table(["run", "reason", "log"], failures) }}
{% endif -%}
<h2>Data</h2>
<p>The best checkpoint of each run is selected on {{ data.selected_on }} and tested on
{{ data.tested_on }}.</p>
<details><summary>{{ data.classes | length }} classes, number of {{ counted }} of each</summary>
{{ table(["class"] + splits, class_rows) }}</details>
<h2>Settings</h2>
<pre>{{ commands | join("\n") }}</pre>
<table class=plain>
{%- for name, text in settings.items() %}<tr><th>{{ name }}</th><td>{{ text }}</td></tr>
{% endfor %}</table>
<script>
{% include "script" %}
</script>
</body>
</html>
"""


def render(**values: Any) -> str:
    """Render the template.

    Args:
        **values (Any): Variables of the template, unescaped.

    Returns:
        str: HTML page.
    """
    from jinja2 import DictLoader, Environment, StrictUndefined

    sources = {"page": TEMPLATE, "style": STYLE, "script": SCRIPT}
    pages = Environment(
        loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=False
    )
    return pages.get_template("page").render(values)
