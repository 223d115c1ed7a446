import Cryptography
import Diagnostics
import WireText

/// The health address for people: the same as `/healthz` tells, as one page.
///
/// Rules:
/// 1. Nothing is fetched from anywhere: style and script stand in the page, and the Content-Security-Policy lets in these
///    two by their SHA-256 and nothing else.
/// 2. Everything is there without the script, which only renews the page in place; without it the browser loads the page
///    again by itself.
/// 3. What a value says is escaped by its type (`HTML`).
/// 4. States are words, colours only repeat them; headings, tables and pictures have names, and a change of the state is
///    read out.
struct HealthPage {
    let document: HealthDocument
    let history: LoadHistory

    static let contentType = "text/html; charset=utf-8"

    static let securityPolicy = [
        "default-src 'none'", "style-src '\(hash(HealthPageAssets.style))'",
        "script-src '\(hash(HealthPageAssets.script))'", "connect-src 'self'", "img-src data:", "base-uri 'none'",
        "form-action 'none'", "frame-ancestors 'none'",
    ].joined(separator: "; ")

    private static func hash(_ text: HTML) -> String { "sha256-" + Base64.encode(SHA256.hash(Array(text.text.utf8))) }

    private var report: HealthReport { document.report }

    var bytes: [UInt8] { Array(html.text.utf8) }

    private var html: HTML {
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <title>\(document.identity.name): \(word)</title>
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <meta name="robots" content="noindex">
        <noscript><meta http-equiv="refresh" content="15"></noscript>
        <link rel="icon" href="data:image/svg+xml,%3Csvg xmlns=%27http://www.w3.org/2000/svg%27 viewBox=%270 0 16 16%27%3E%3C\
        circle cx=%278%27 cy=%278%27 r=%276%27 fill=%27\(iconColour)%27/%3E%3C/svg%3E">
        <style>\(HealthPageAssets.style)</style>
        </head>
        <body class="\(report.state.rawValue)">
        <a class="skip" href="#checks">To the checks</a>
        <header>
        <h1>\(document.identity.name)</h1>
        <p id="identity" data-live>Version \(document.identity.version), running since \(time(document.started))</p>
        </header>
        <main>
        <section class="state" aria-label="State">
        <p class="word" id="word" data-live>\(word)</p>
        <p id="sentence" role="status" data-live>\(report.sentence)</p>
        <p class="quiet" id="time" data-live>As of \(time(document.time)). \(proof)</p>
        </section>
        <div id="alarms" data-live>\(alarms)</div>
        <div id="warnings" data-live>\(warnings)</div>
        <section aria-labelledby="load-title">
        <h2 id="load-title">The last hour</h2>
        <div class="sparks" id="load" data-live>\(pictures)</div>
        </section>
        <section aria-labelledby="checks">
        <h2 id="checks" tabindex="-1">Checks</h2>
        <div id="table" data-live>\(checks)</div>
        </section>
        </main>
        <footer>
        <p id="stale" role="alert"></p>
        <p><button type="button" id="pause" hidden aria-pressed="false">Pause renewing</button></p>
        <nav aria-label="For programs"><a href="/healthz">/healthz</a> <a href="/metrics">/metrics</a> \
        <a href="/readyz">/readyz</a> <a href="/livez">/livez</a></nav>
        </footer>
        <script>\(HealthPageAssets.script)</script>
        </body>
        </html>

        """
    }

    // MARK: - Parts

    /// The state in one word, as a person would say it.
    private var word: String {
        if report.isDraining { return "Stopping" }
        if !report.isReady { return report.isAnnounced ? "Not ready" : "Starting" }
        switch report.state {
        case .ok: return "Ready"
        case .warn: return "Ready, with something to look at"
        case .fail, .pending: return "Working, but not whole"
        }
    }

    private var proof: HTML {
        document.isLive ? "The last self-test is recent." : "No self-test has passed of late."
    }

    private var iconColour: HTML {
        switch report.state {
        case .ok: "%232f7d4f"
        case .warn: "%23a86a00"
        case .fail: "%23b3261e"
        case .pending: "%235f6b7a"
        }
    }

    private var alarms: HTML {
        let standing = report.alarms
        guard !standing.isEmpty else {
            return """
                <section aria-labelledby="alarms-title">
                <h2 id="alarms-title">Alarms</h2>
                <p class="quiet">None stands.</p>
                </section>
                """
        }
        return """
            <section aria-labelledby="alarms-title">
            <h2 id="alarms-title">Alarms <span class="count">\(standing.count)</span></h2>
            \(standing.map(alarm))
            </section>
            """
    }

    private func alarm(_ standing: AlarmBoard.Standing) -> HTML {
        let alarm = standing.alarm
        let subject: HTML = standing.subject.text.isEmpty ? "" : "<p class=\"quiet\">About \(standing.subject.text)</p>"
        return """
            <article class="alarm \(alarm.severity.name)">
            <h3><span class="badge \(alarm.severity.name)">\(alarm.severity.name)</span> \(Self.capitalised(alarm.title))</h3>
            <p class="detail">\(standing.detail.text)</p>
            <p>\(alarm.text)</p>
            <p class="fix"><strong>What to do:</strong> \(alarm.fix)</p>
            \(subject)
            <p class="quiet"><code>\(alarm.id)</code> since \(time(standing.since)); goes away \(alarm.clears)</p>
            </article>
            """
    }

    private var warnings: HTML {
        guard !report.warnings.isEmpty else { return "" }
        let items = report.warnings.map { warning -> HTML in
            """
            <article class="alarm warning">
            <h3><span class="badge warning">standing</span> \(Self.capitalised(warning.text.text))</h3>
            <p class="fix"><strong>What to do:</strong> \(warning.fix.text)</p>
            </article>
            """
        }
        return """
            <section aria-labelledby="warnings-title">
            <h2 id="warnings-title">Standing warnings <span class="count">\(items.count)</span></h2>
            \(items)
            </section>
            """
    }

    private var pictures: HTML {
        let samples = history.samples
        func picture(
            _ title: String, _ value: (LoadHistory.Sample) -> Double?, _ format: @escaping (Double) -> String
        ) -> HTML {
            Sparkline(title: title, points: samples.map { ($0.time, value($0)) }, now: document.time, format: format)
                .html
        }
        var pictures = [picture("\(history.title) a second", { $0.rate }, Figure.rate)]
        if samples.contains(where: { $0.answerTime != nil }) {
            pictures.append(picture("95 of 100 answered within", { $0.answerTime }, Figure.seconds))
        }
        pictures.append(picture("Processor", { $0.processor }, Figure.share))
        pictures.append(picture("Memory", { $0.memoryBytes }, Figure.bytes))
        return HTML(pictures)
    }

    private var checks: HTML {
        // What needs somebody first.
        let order: [HealthState] = [.fail, .pending, .warn, .ok]
        let rows = order.flatMap { state in report.checks.filter { $0.finding.state == state }.map(row) }
        return """
            <table>
            <thead><tr><th scope="col">Check</th><th scope="col">State</th><th scope="col">Seen</th>\
            <th scope="col">Since</th></tr></thead>
            <tbody>
            \(rows)
            </tbody>
            </table>
            """
    }

    private func row(_ entry: HealthReport.Check) -> HTML {
        let fix: HTML =
            entry.finding.fix.map { "<p class=\"fix\"><strong>What to do:</strong> \($0.text)</p>" } ?? ""
        let needed: HTML = entry.check.gate.holdsReadiness ? "<p class=\"quiet\">needed to be ready</p>" : ""
        return """
            <tr class="\(entry.finding.state.rawValue)"><th scope="row">\(Self.capitalised(Self.bare(entry.check.title)))\
            \(needed)</th><td><span class="badge \(entry.finding.state.rawValue)">\(Self.word(entry.finding.state))</span></td>\
            <td>\(entry.finding.detail.text)\(fix)</td><td>\(time(entry.since))</td></tr>
            """
    }

    private static func word(_ state: HealthState) -> String {
        switch state {
        case .ok: "ok"
        case .warn: "look"
        case .fail: "failing"
        case .pending: "not known"
        }
    }

    private func time(_ time: Timestamp) -> HTML {
        let iso = time.iso8601
        return "<time datetime=\"\(iso)\">\(String(iso.prefix(10))) \(String(iso.dropFirst(11).prefix(8))) UTC</time>"
    }

    /// Titles are written for the middle of a sentence: `the link to the core`.
    private static func bare(_ title: String) -> String {
        title.hasPrefix("the ") ? String(title.dropFirst(4)) : title
    }

    private static func capitalised(_ text: String) -> String { text.prefix(1).uppercased() + text.dropFirst() }
}
