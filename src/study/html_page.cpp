// The frame and style that all pages share: light and dark, screen and paper.
#include "io/provenance.h"
#include "study/html.h"

namespace troupe::html {
namespace {

// Colours of text have a contrast of 4.5 : 1 and more to page and tile, those of lines (study/chart.cpp) 3 : 1
// (tests/cli/contrast.py reads them from a page). Paper is light, whatever the screen is.
constexpr const char* kStyle = R"css(
:root { color-scheme: light dark; --text: #1d2125; --soft: #5a626b; --line: #d9dde1; --page: #fdfdfc; --tile: #f3f4f5;
  --better: #1a7038; --worse: #ad2f2c; --shade: rgb(0 0 0 / .22); }
@media screen and (prefers-color-scheme: dark) {
  :root { --text: #e4e6e9; --soft: #a3acb5; --line: #3a4047; --page: #15181b; --tile: #1e2226;
    --better: #5cc384; --worse: #f0918c; --shade: rgb(255 255 255 / .25); }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 76rem; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-top: .9rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { margin: .4rem 0; max-width: 48rem; overflow-wrap: anywhere; }
.soft, figcaption { color: var(--soft); font-size: .875rem; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.scroll { overflow-x: auto; position: relative; max-width: 100%; background:
  linear-gradient(270deg, var(--page) 40%, transparent) right / 3rem calc(100% + 1px) no-repeat local,
  linear-gradient(270deg, var(--shade), transparent) right / 1.1rem 100% no-repeat scroll; }
@supports (animation-timeline: scroll()) {
  .scroll::after { content: "scrolls sideways \2192"; display: block; position: sticky; left: 0; width: max-content;
    max-height: 0; overflow: hidden; color: var(--soft); font-size: .8rem; animation: overflows linear both;
    animation-timeline: scroll(nearest inline); }
  @keyframes overflows { from, to { max-height: 2em; } }
}
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .925rem; }
th, td { padding: .32rem .8rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tbody th { position: sticky; left: 0; background: var(--page); }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; }
tr.group th { padding-top: 1rem; color: var(--soft); font-weight: 600; font-size: .8rem; text-transform: uppercase;
  letter-spacing: .05em; }
td.best { font-weight: 700; }
.better { color: var(--better); } .worse, .mark { color: var(--worse); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); gap: 1rem 1.5rem; }
figure { margin: 0; }
figure svg { width: 100%; height: auto; display: block; }
figure svg text { font-family: inherit; }
figure svg .gridline { stroke: var(--line); }
figcaption { margin-top: .15rem; }
figcaption b { color: var(--text); font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .25rem 0 .75rem; font-size: .9rem; }
.legend svg { width: 2.2em; height: .7em; margin-right: .45em; vertical-align: middle; }
table.heat { border-collapse: separate; border-spacing: 2px; }
table.heat th, table.heat td { border: 0; padding: .25rem 0; text-align: center; font-size: .8rem; font-weight: 400;
  min-width: 1.75rem; }
table.heat tbody th { padding-right: .6rem; text-align: left; max-width: 11rem; overflow: hidden;
  text-overflow: ellipsis; }
table.heat td, .scale i { print-color-adjust: exact; }
table.heat td { border-radius: 3px; background: rgb(59 130 196 / calc(.75 * var(--share, 0))); }
.scale { display: flex; align-items: center; gap: .5rem; font-size: .8rem; margin: .5rem 0 0; }
.scale i { width: 10rem; height: .8rem; border-radius: 3px;
  background: linear-gradient(90deg, rgb(59 130 196 / 0), rgb(59 130 196 / .75)); border: 1px solid var(--line); }
.samples { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1rem; }
blockquote { margin: 0; padding: .8rem 1rem; background: var(--tile); border-radius: 8px; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: .925rem; }
blockquote cite { display: block; font-style: normal; color: var(--soft); font-size: .8rem; margin-bottom: .3rem; }
blockquote .soft { font-size: .8rem; }
details { margin: .4rem 0; } summary { cursor: pointer; overflow-wrap: anywhere; }
pre { background: var(--tile); border-radius: 8px; padding: .8rem 1rem; overflow-x: auto; font-size: .82rem; }
@media (max-width: 40rem) {
  body { padding: 1.25rem 1rem 3rem; } h1 { font-size: 1.5rem; }
  table { font-size: .85rem; } th, td { padding: .3rem .45rem; }
  tbody th { max-width: 9rem; overflow: hidden; text-overflow: ellipsis; } tr.group th { max-width: 20rem; white-space: normal; }
}
@media print {
  :root { color-scheme: light; } body { max-width: none; padding: 0; font-size: 10pt; }
  h2, h3, h2 + .soft, .legend, .scale { break-after: avoid; }
  figure, tr, table.heat, blockquote { break-inside: avoid; }
  .scroll { overflow: visible; background: none; } .scroll::after { content: none; }
  table { font-size: 7.5pt; } th, td { padding: .2rem .45rem; white-space: normal; }
  tr.group th { font-size: 6.5pt; }
  table.heat { border-spacing: 1px; } table.heat th, table.heat td { min-width: 1.15rem; font-size: 5.5pt; }
  .charts { grid-template-columns: 1fr 1fr; } pre { white-space: pre-wrap; overflow-wrap: anywhere; }
}
)css";

}  // namespace

std::string page(const std::string& title, const std::string& body) {
  return "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
         escaped(title) + "</title>\n<style>" + kStyle + "</style>\n</head>\n<body>\n<h1>" + escaped(title) +
         "</h1>\n<main>\n" + body + "</main>\n<p class=\"soft\">Page made by " + escaped(describe(provenance())) +
         ".</p>\n</body>\n</html>\n";
}

}  // namespace troupe::html
