import Cryptography
import WireText

/// The style sheet of the pages, allowed by its digest alone: no other style and no script can run in them.
enum PageStyle {
    /// What `style-src` names.
    static let source = "'sha256-" + Base64.encode(SHA256.hash(Array(sheet.utf8))) + "'"

    /// Contrast of text and controls is at least 4.5 to 1 in both colour schemes (WCAG 2.2, 1.4.3).
    static let sheet = """
        :root{color-scheme:light dark;--back:#eef1f5;--card:#fff;--text:#1c2530;--soft:#52606f;--line:#76879a;\
        --accent:#0b5cad;--on:#fff;--bad:#a11222;--badback:#fdecee}
        @media (prefers-color-scheme:dark){:root{--back:#12171d;--card:#1d242c;--text:#eef2f6;--soft:#a9b6c4;\
        --line:#7d8fa3;--accent:#7ab8f5;--on:#0b1a2a;--bad:#ffb3ba;--badback:#43191f}}
        *{box-sizing:border-box}
        body{margin:0;min-height:100vh;display:flex;align-items:center;justify-content:center;padding:1rem;\
        background:var(--back);color:var(--text);font:1rem/1.5 system-ui,sans-serif}
        main{width:100%;max-width:25rem;padding:2rem;border-radius:.75rem;background:var(--card);\
        box-shadow:0 .25rem 1.5rem rgba(0,0,0,.12)}
        h1{margin:0 0 .25rem;font-size:1.5rem;line-height:1.25}
        p{margin:0 0 1rem}
        .soft{color:var(--soft)}
        .small{margin:1.25rem 0 0;font-size:.875rem}
        .error{padding:.75rem 1rem;border-left:.25rem solid var(--bad);border-radius:.25rem;\
        background:var(--badback);color:var(--bad)}
        label{display:block;margin:1rem 0 .25rem;font-weight:600}
        input{width:100%;padding:.625rem .75rem;border:1px solid var(--line);border-radius:.375rem;\
        background:var(--card);color:var(--text);font:inherit}
        button{width:100%;margin-top:1.5rem;padding:.75rem;border:0;border-radius:.375rem;background:var(--accent);\
        color:var(--on);font:inherit;font-weight:600;cursor:pointer}
        input:focus-visible,button:focus-visible{outline:.1875rem solid var(--accent);outline-offset:.125rem}
        """
}
