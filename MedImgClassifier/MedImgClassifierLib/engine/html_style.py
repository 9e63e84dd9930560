"""The look of report.html: light and dark as the reader's system is, narrow and wide, and on paper."""

from __future__ import annotations

STYLE = """
:root{--page:#fff;--card:#f5f6f8;--text:#1a1f26;--faint:#59636e;--line:#d5dae0;--warn:#8a5a00;--refuse:#b3261e;
--stale:#fff1d6;--dark:#11161d}
@media (prefers-color-scheme:dark){:root{--page:#0d1117;--card:#161b22;--text:#e6edf3;--faint:#99a2ad;--line:#30363d;
--warn:#e3b341;--refuse:#ff7b72;--stale:#3a2c0c}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1rem clamp(.8rem,3vw,2rem) 3rem;background:var(--page);color:var(--text);
font:16px/1.5 system-ui,"Segoe UI","Noto Sans","Noto Sans CJK SC","Microsoft YaHei","PingFang SC",sans-serif;
overflow-wrap:anywhere}
p{margin:.3rem 0}
h1{font-size:clamp(1.35rem,4vw,2rem);line-height:1.25;margin:.2rem 0 .6rem}
h1.refused{font-weight:400;color:var(--refuse)}
h2{font-size:1.15rem;margin:0 0 .5rem}
h3{font-size:1rem;margin:0}
section,details{margin-top:1.6rem;padding-top:1rem;border-top:1px solid var(--line)}
code{font-size:.8em;color:var(--faint)}
.faint{color:var(--faint);font-size:.92rem}
.notice{display:inline-block;margin:0 0 .8rem;padding:.15rem .7rem;border:1px solid var(--warn);border-radius:1rem;
color:var(--warn);font-weight:600;font-size:.92rem}
.stale{margin:0 0 1rem;padding:.7rem 1rem;border-left:.35rem solid var(--warn);background:var(--stale)}
.stale ul{margin:.3rem 0 0;padding-left:1.2rem}
.findings{list-style:none;margin:0;padding:0;display:grid;gap:.5rem}
.findings li{padding:.5rem .8rem;background:var(--card);border-left:.25rem solid var(--faint)}
.findings .warn{border-color:var(--warn)}.findings .refuse{border-color:var(--refuse)}
.tag{font-weight:600}.warn .tag{color:var(--warn)}.refuse .tag{color:var(--refuse)}
.plot{margin:.5rem 0 0;padding:.6rem;border-radius:.4rem;background:var(--dark);color:#e6edf3}
.wide{overflow-x:auto}
svg{display:block;width:100%;min-width:44rem;height:auto;font:13px system-ui,"Noto Sans","Noto Sans CJK SC",sans-serif}
svg text{fill:#e6edf3}svg .faint{fill:#99a2ad;font-size:11.5px}
svg .mid{text-anchor:middle}svg .end{text-anchor:end}svg .bold{font-weight:700}
svg polyline{fill:none;stroke-width:2.2;stroke-linejoin:round}
svg path{fill:none;stroke:#30363d}svg .mark{stroke:#e6edf3;stroke-dasharray:3 4}
svg .current{stroke:#fff;fill:#fff;stroke-width:1.5}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;margin:.4rem 0 0;padding:0 .4rem;font-size:.92rem}
.dot{display:inline-block;width:.75em;height:.75em;margin-right:.4em;border-radius:50%;
border:1px solid rgba(128,128,128,.7)}
.dot.other{background:#8b949e}
.bar{display:flex;align-items:center;gap:.5rem;max-width:20rem;font-size:.92rem}
.bar i{flex:1;height:.8rem;border-radius:.2rem}
.keys{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,30rem),1fr));gap:1rem;margin-top:.6rem}
article{padding:.7rem .9rem;background:var(--card);border-radius:.4rem}
article:target{outline:2px solid var(--warn)}
.number{display:inline-block;min-width:1.6em;text-align:center;border:1px solid currentColor;border-radius:.8em;
margin-right:.4em;line-height:1.5}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:.6rem;margin-top:.5rem}
.pair figure{margin:0}.pair img{display:block;width:100%;height:auto;background:#000}
figcaption{font-size:.85rem;color:var(--faint);margin-top:.2rem}
summary{cursor:pointer;font-weight:600}
table{border-collapse:collapse;margin-top:.6rem;min-width:36rem;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.2rem .7rem .2rem 0;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--faint);font-weight:600}td a{color:inherit;font-weight:700}
dl{display:grid;grid-template-columns:minmax(8rem,14rem) 1fr;gap:.35rem 1.2rem;margin:.4rem 0 0}
dt{color:var(--faint)}dd{margin:0}
@media (max-width:40rem){dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}}
@media print{:root{--page:#fff;--card:#fff;--text:#000;--faint:#444;--line:#bbb;--warn:#7a4f00;--refuse:#b3261e;
--stale:#fff}body{max-width:none}article,.plot,.bar i{break-inside:avoid;print-color-adjust:exact;
-webkit-print-color-adjust:exact}}
""".strip()
