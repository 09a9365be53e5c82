"""The page's style: phone, desktop, print; light and dark."""

CSS = """
:root { color-scheme: light dark; --ink: #1d232b; --soft: #5d6672; --line: #e3e6ea; --paper: #fff;
  --federated: #0072b2; --frozen: #98a0aa; --anomalous: #e69f00; --alarm: #d55e00; --on: #fff; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa4b1; --line: #2c333c;
  --paper: #14181d; --federated: #56b4e9; --frozen: #7d8894; --anomalous: #e69f00; --alarm: #f08a4b;
  --on: #10151a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
main { max-width: 68rem; margin: 0 auto; padding: 3rem 1.25rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; font-weight: 650; letter-spacing: -.015em; margin: 0; }
h2 { font-size: 1.25rem; font-weight: 650; margin: 4rem 0 1.25rem; padding-top: 1rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; font-weight: 600; margin: 0 0 .4rem; }
h1, h3, .about, .verdict { overflow-wrap: anywhere; }
.about, .note, figcaption, .legend { color: var(--soft); font-size: .875rem; }
.about { margin: .4rem 0 0; }
.verdict { font-size: 1.125rem; line-height: 1.65; max-width: 44rem; margin: 2rem 0 0; }
.note { max-width: 44rem; margin: .75rem 0 1.5rem; }
.items { list-style: none; margin: 1.25rem 0 0; padding: 0; max-width: 44rem; }
.items li { margin: .6rem 0; padding: .1rem 0 .1rem .9rem; border-left: 4px solid var(--anomalous);
  overflow-wrap: anywhere; }
.items li.alarm { border-color: var(--alarm); }
.scroll + .note { margin-top: .75rem; }
.legend + .grid { margin-top: 1.5rem; }
.tiles { display: grid; gap: 1.5rem; margin: 2rem 0 0;
  grid-template-columns: repeat(auto-fill, minmax(min(10rem, 100%), 1fr)); }
.tiles dt { color: var(--soft); font-size: .875rem; }
.tiles dd { margin: .1rem 0 0; font-size: 1.25rem; font-weight: 600; letter-spacing: -.01em; }
.scroll { overflow-x: auto; margin-top: 1.5rem; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
th, td { text-align: left; padding: .45rem .9rem .45rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: break-word; }
td:first-child { min-width: 6.5rem; }
td.long { min-width: 11rem; }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; line-height: 1.3; }
.marked { color: var(--federated); font-weight: 650; }
.grid { display: grid; }
.grid.small { gap: 2.25rem 2rem; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); }
.grid.large { gap: 2.5rem 3rem; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
.grid.large > * { max-width: 30rem; }
.grid .scroll { margin-top: 0; }
figure { margin: 0; break-inside: avoid; }
figcaption { margin-top: .35rem; }
figure svg { display: block; width: 100%; height: auto; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 0 0 .5rem; }
.legend span { display: inline-flex; align-items: center; gap: .45rem; }
.legend svg { width: 24px; height: 12px; overflow: visible; }
svg text { fill: var(--soft); font-size: 11px; font-family: inherit; }
svg text.inside { fill: var(--on); }
path.grid-line { stroke: var(--line); stroke-width: 1; }
.axis { stroke: var(--frozen); stroke-width: 1; }
.line { fill: none; stroke-width: 1.5; stroke-linecap: round; stroke-linejoin: round; }
.limit { fill: none; stroke-width: 1.2; stroke-dasharray: 5 3; }
.line.frozen, .limit.frozen { stroke: var(--frozen); }
.line.federated, .limit.federated { stroke: var(--federated); }
.grid.small .line { stroke-width: 1.1; }
.dot.frozen { fill: var(--paper); stroke: var(--frozen); stroke-width: 2; }
.dot.federated, .fill.federated { fill: var(--federated); }
.fill.frozen { fill: var(--frozen); }
.fill.over { fill: var(--alarm); }
.bar { stroke: var(--federated); stroke-width: 2.5; opacity: .5; }
.bar.worse { stroke: var(--alarm); opacity: .9; }
.tick { stroke: var(--ink); stroke-width: 1.5; }
.anomalous { fill: var(--anomalous); opacity: .2; }
.alarm { fill: var(--alarm); }
.alarmline { stroke: var(--alarm); stroke-width: 1; }
.promise { stroke: var(--ink); stroke-width: 1.2; stroke-dasharray: 4 3; }
@media screen and (max-width: 44rem) {
  table.cards thead { display: none; }
  table.cards tr { display: block; padding: .8rem 0; border-bottom: 1px solid var(--line); }
  table.cards td { display: grid; grid-template-columns: 8rem 1fr; gap: .75rem; border: 0; padding: .1rem 0;
    min-width: 0; overflow-wrap: anywhere; }
  table.cards td::before { content: attr(data-name); color: var(--soft); }
  table.cards td:first-child { display: block; font-weight: 600; }
  table.cards td:first-child::before { content: none; }
  main { padding-top: 2rem; } h2 { margin-top: 3rem; }
  th, td { padding-right: .5rem; } .verdict { font-size: 1.0625rem; } }
@page { size: A4; margin: 14mm 12mm; }
@media print { main { padding: 0; max-width: none; } body { font-size: 9.5pt; }
  h1 { font-size: 18pt; } h2 { font-size: 13pt; break-after: avoid; margin: 1.6rem 0 .8rem; } h3 { break-after: avoid; }
  .verdict { font-size: 11pt; margin-top: 1rem; }
  .scroll { overflow: visible; } table { font-size: 7.5pt; } thead { display: table-header-group; }
  th, td { padding: .25rem .5rem .25rem 0; }
  td:first-child { min-width: 4.5rem; } td.long { min-width: 0; }
  .grid.large { grid-template-columns: 1fr 1fr; gap: 1.2rem; }
  .grid.small { grid-template-columns: 1fr 1fr 1fr; gap: 1.2rem; }
  .legend { display: block; break-inside: avoid; break-after: avoid; } .legend span { margin-right: 1rem; }
  .note { break-after: avoid; }
  tr, li, .tiles div, .grid > div { break-inside: avoid; } }
"""
