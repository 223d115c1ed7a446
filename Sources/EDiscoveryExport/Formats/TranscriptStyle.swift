import Cryptography
import WireText

/// What all pages of a transcript have: one style, and a policy by which a browser loads and runs nothing else.
enum TranscriptStyle {
    static func head(title: String) -> String {
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src '\(digest)'; base-uri 'none'; \
        form-action 'none'">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="referrer" content="no-referrer">
        <title>\(XML.escape(title))</title>
        <style>\(css)</style>
        </head>
        <body>

        """
    }

    private static let digest = "sha256-" + Base64.encode(SHA256.hash(Array(css.utf8)))

    private static let css = """
        :root{color-scheme:light dark;--ink:#1c2430;--quiet:#667085;--line:#e3e7ee;--page:#fff;--soft:#f5f7fa;--link:#1d5fbf;\
        --warn:#8a5a00;--bad:#b3261e}
        @media(prefers-color-scheme:dark){:root{--ink:#e7eaf0;--quiet:#98a2b3;--line:#2c3442;--page:#12161d;--soft:#1a202a;\
        --link:#7db0ff;--warn:#e0b050;--bad:#ff8a80}}
        *{box-sizing:border-box}
        body{margin:0 auto;max-width:54rem;padding:2rem 1.25rem 4rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);\
        background:var(--page)}
        h1{font-size:1.6rem;margin:.2rem 0 .4rem;line-height:1.25;overflow-wrap:anywhere}
        a{color:var(--link)}p{margin:.15rem 0}
        .quiet,.number,.answer,time{color:var(--quiet);font-size:.82rem}
        .people{font-size:.86rem}
        header{border-bottom:1px solid var(--line);padding-bottom:1rem;margin-bottom:1rem}
        nav{text-align:center;color:var(--quiet);margin:1rem 0}
        .day{display:flex;align-items:center;gap:.8rem;margin:1.8rem 0 1rem;font-size:.85rem;font-weight:600;\
        color:var(--quiet);position:sticky;top:0;background:var(--page);padding:.3rem 0}
        .day::before,.day::after{content:"";flex:1;border-top:1px solid var(--line)}
        .item{display:flex;gap:.75rem;padding:.5rem .6rem;border-radius:.6rem;break-inside:avoid}
        .item:target{outline:2px solid var(--link)}
        .item.reply{margin-left:2.4rem;border-left:2px solid var(--line);border-radius:0 .6rem .6rem 0}
        .item.context{opacity:.72;background:var(--soft)}
        .item.event{color:var(--quiet);padding-top:.15rem;padding-bottom:.15rem}
        .body{min-width:0;flex:1}
        .face{flex:none;width:2rem;height:2rem;border-radius:50%;display:grid;place-items:center;font-weight:600;color:#fff}
        .f0{background:#3b6fb6}.f1{background:#8a5fb0}.f2{background:#2f8577}.f3{background:#b3603a}.f4{background:#5f7a2e}\
        .f5{background:#a8486f}.f6{background:#4d6478}.f7{background:#94742a}
        .text{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate}
        .deleted .text{text-decoration:line-through;text-decoration-color:var(--bad)}
        .tag{font-size:.72rem;border:1px solid var(--line);border-radius:1rem;padding:0 .5rem;color:var(--quiet);\
        background:var(--soft)}
        .gone{color:var(--bad);font-size:.82rem}
        .number{font-family:ui-monospace,monospace;font-size:.7rem;overflow-wrap:anywhere}
        details{font-size:.9rem;margin:.3rem 0;padding:.3rem .7rem;border-left:3px solid var(--line)}
        summary{cursor:pointer;color:var(--quiet)}ol{margin:.3rem 0;padding-left:1.2rem}
        .files,.problems,.spaces{list-style:none;padding:0;margin:.4rem 0}
        .files li{border:1px solid var(--line);border-radius:.5rem;padding:.35rem .6rem;margin:.25rem 0;overflow-wrap:anywhere}
        .problems li{font-size:.85rem;padding:.3rem .6rem;border-left:3px solid var(--bad);background:var(--soft);margin:.2rem 0}
        .problems .warning{border-color:var(--warn)}
        .spaces li{padding:.45rem 0;border-bottom:1px solid var(--line)}
        @media print{body{max-width:none;padding:0}.day{position:static}}
        """
}
