/// The page of the console. Everything that it shows is put in as text by its script, never as markup.
enum ConsolePage {
    static let html = """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>eDiscovery</title>
        <link rel="stylesheet" href="/console.css">
        <script src="/console.js" defer></script>
        </head>
        <body>
        <a class="skip" href="#view">To the content</a>
        <header>
          <h1>eDiscovery</h1>
          <p id="who" class="quiet">Not signed in</p>
          <button id="leave" hidden>Sign out</button>
        </header>
        <nav aria-label="Sections">
          <button data-view="reports" accesskey="1">Reports</button>
          <button data-view="search" accesskey="2">New search</button>
          <button data-view="holds" accesskey="3">Holds</button>
          <button data-view="destruction" accesskey="4">Retention and erasure</button>
          <button data-view="approvals" accesskey="5">Second officer</button>
          <button data-view="audit" accesskey="6">Audit</button>
        </nav>
        <p id="message" role="status" aria-live="polite"></p>
        <main id="view" tabindex="-1"></main>
        <footer class="quiet">Nothing of this page is kept by your browser. Keys: / search, n new search, j and k next and
        previous item, Esc back.</footer>
        </body>
        </html>

        """

    static let style = """
        :root{--ground:#f6f7f9;--card:#fff;--ink:#1c2430;--soft:#586373;--rule:#dde2e9;--line:#2f639c;--warn:#8a5300;
        --fail:#a3211b;--ok:#2a6f47;--mark:#fde68a;--markink:#1c2430}
        @media (prefers-color-scheme:dark){:root{--ground:#12161c;--card:#1a2028;--ink:#e6eaf0;--soft:#a0abba;
        --rule:#2c3541;--line:#7fb0e6;--warn:#f0bd6a;--fail:#ff9d94;--ok:#7fd1a0;--mark:#6b5410;--markink:#fff}}
        *{box-sizing:border-box}
        body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,"DejaVu Sans",sans-serif}
        header,nav,main,footer,#message{max-width:68rem;margin:0 auto;padding:.25rem 1.25rem}
        header{display:flex;align-items:baseline;gap:1rem;padding-top:1.5rem}
        header p{flex:1;margin:0}
        h1{font-size:1.35rem;margin:0} h2{font-size:1.1rem;margin:1.25rem 0 .5rem}
        .quiet{color:var(--soft);font-size:.875rem}
        nav{display:flex;flex-wrap:wrap;gap:.4rem;padding-top:.75rem}
        button{font:inherit;color:var(--ink);background:var(--card);border:1px solid var(--rule);border-radius:8px;
        padding:.35rem .85rem;cursor:pointer}
        button[aria-current=page]{border-color:var(--line);color:var(--line);font-weight:600}
        button.primary{background:var(--line);border-color:var(--line);color:var(--card)}
        button.danger{color:var(--fail)}
        a:focus-visible,button:focus-visible,input:focus-visible,select:focus-visible,textarea:focus-visible,
        article:focus-visible{outline:3px solid var(--line);outline-offset:2px}
        .skip{position:absolute;left:-99rem} .skip:focus{left:1rem;top:.5rem;background:var(--card);padding:.3rem}
        #message{min-height:1.75rem} #message.bad{color:var(--fail);font-weight:600}
        table{width:100%;border-collapse:collapse;background:var(--card);border:1px solid var(--rule)}
        th,td{text-align:left;vertical-align:top;padding:.5rem .75rem;border-top:1px solid var(--rule);
        overflow-wrap:anywhere}
        thead th{color:var(--soft);font-size:.85rem;white-space:nowrap}
        form{display:grid;gap:.75rem;background:var(--card);border:1px solid var(--rule);border-radius:10px;
        padding:1rem 1.25rem;max-width:44rem}
        label{display:grid;gap:.2rem;font-weight:600} label span{font-weight:400;color:var(--soft);font-size:.85rem}
        label.row,fieldset label{display:flex;gap:.5rem;font-weight:400;align-items:center}
        fieldset{border:1px solid var(--rule);border-radius:8px;display:flex;flex-wrap:wrap;gap:.25rem 1rem}
        input,select,textarea{font:inherit;font-weight:400;color:inherit;background:var(--ground);border:1px solid var(--rule);
        border-radius:6px;padding:.35rem .5rem;min-width:0}
        .pair{display:grid;grid-template-columns:1fr 1fr;gap:.75rem}
        .bar{display:flex;gap:.5rem;flex-wrap:wrap;align-items:center;margin:.5rem 0}
        progress{width:100%;accent-color:var(--line)}
        article{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:.6rem 1rem;margin:.5rem 0}
        article.context{opacity:.75;border-style:dashed} article h3{font-size:.95rem;margin:0;font-weight:600}
        article p{margin:.25rem 0;white-space:pre-wrap;overflow-wrap:anywhere}
        article .history{border-left:3px solid var(--rule);padding-left:.75rem;color:var(--soft)}
        .problem{color:var(--warn)} .gone{color:var(--fail)}
        mark{background:var(--mark);color:var(--markink);border-radius:3px}
        dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:.5rem 0} dt{color:var(--soft)}
        dd{margin:0;overflow-wrap:anywhere}

        """

    static let script = ConsoleScript.text
}
