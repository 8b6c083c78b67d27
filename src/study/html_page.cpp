// The frame and style that all pages share: light and dark, screen and paper.
#include "io/provenance.h"
#include "study/html.h"

namespace troupe::html {
namespace {

constexpr const char* kStyle = R"css(
:root { color-scheme: light dark; --text: #1d2125; --soft: #626a73; --line: #d9dde1; --page: #fdfdfc; --tile: #f3f4f5; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e6e9; --soft: #9aa3ad; --line: #3a4047; --page: #15181b; --tile: #1e2226; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 74rem; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-top: .9rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { margin: .4rem 0; max-width: 48rem; }
.soft, figcaption, caption { color: var(--soft); font-size: .875rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .925rem; }
th, td { padding: .32rem .8rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; }
tr.group th { padding-top: 1rem; color: var(--soft); font-weight: 600; font-size: .8rem; text-transform: uppercase;
  letter-spacing: .05em; }
td.best { font-weight: 650; }
.better { color: #2f8f4e; } .worse { color: #c8504f; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem 1.5rem; }
.charts.small { grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); }
figure { margin: 0; }
figure svg { width: 100%; height: auto; display: block; }
figure svg text { font-family: inherit; }
figure svg .gridline { stroke: var(--line); }
figcaption { margin-top: .15rem; }
figcaption b { color: var(--text); font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .25rem 0 .75rem; font-size: .9rem; }
.legend i { display: inline-block; width: 1.4em; height: 3px; border-radius: 2px; margin-right: .45em;
  vertical-align: middle; }
table.heat { border-spacing: 2px; border-collapse: separate; width: 100%; table-layout: fixed; }
table.heat th, table.heat td { border: 0; padding: .25rem 0; text-align: center; font-size: .78rem; font-weight: 400; }
table.heat th:first-child { width: 11rem; padding-right: .6rem; text-align: left; overflow: hidden;
  text-overflow: ellipsis; }
table.heat.dense { border-spacing: 0 2px; } table.heat.dense td { padding: .6rem 0; }
table.heat td { border-radius: 3px; } table.heat.dense td { border-radius: 0; }
.samples { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1rem; }
blockquote { margin: 0; padding: .8rem 1rem; background: var(--tile); border-radius: 8px; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: .925rem; }
blockquote cite { display: block; font-style: normal; color: var(--soft); font-size: .8rem; margin-bottom: .3rem; }
details { margin: .4rem 0; } summary { cursor: pointer; }
pre { background: var(--tile); border-radius: 8px; padding: .8rem 1rem; overflow-x: auto; font-size: .82rem; }
@media print { body { max-width: none; padding: 0; } h2 { break-after: avoid; } figure, table { break-inside: avoid; } }
)css";

}  // namespace

std::string page(const std::string& title, const std::string& body) {
  return "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
         escaped(title) + "</title>\n<style>" + kStyle + "</style>\n</head>\n<body>\n<h1>" + escaped(title) +
         "</h1>\n" + body + "<p class=\"soft\">Page made by " + escaped(describe(provenance())) +
         ".</p>\n</body>\n</html>\n";
}

}  // namespace troupe::html
