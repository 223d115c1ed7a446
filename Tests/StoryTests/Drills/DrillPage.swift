/// The reports of a run as one page that needs nothing else: no script, no font, no picture from elsewhere.
struct DrillPage {
    let title: String
    let reports: [DrillReport]

    var html: String {
        let passed = reports.count { $0.passed }
        let lost = reports.reduce(0) { $0 + $1.lost }
        let failed = reports.count - passed
        let verdict = failed == 0 ? "All \(passed) drills passed" : "\(failed) of \(reports.count) failed"
        return """
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
            <title>\(Self.escaped(title))</title><style>\(Self.style)</style></head><body>
            <h1>\(Self.escaped(title))</h1>
            <p class="\(failed == 0 ? "pass" : "fail")">\(verdict); requests lost: \(lost).</p>
            <table><thead><tr><th>Drill<th>Detected after<th>Recovered after<th>As before after<th>Requests<th>Failed\
            <th>Lost<th>Longest wait</tr></thead><tbody>
            \(reports.map(row).joined(separator: "\n"))
            </tbody></table>
            <p class="note">Detected: from the blow until a journal said what is wrong. Recovered: until the last of all
            clients had an answer to something it asked after the blow. As before: from the end of the fault until every
            node was ready and everybody went on. Failed: ended with an error for the person who asked. Lost: was
            acknowledged and can not be had any more.</p>
            \(reports.map(section).joined(separator: "\n"))
            </body></html>

            """
    }

    private func row(_ report: DrillReport) -> String {
        let cells = [
            Self.text(report.detection), Self.text(report.recovery), Self.text(report.restoration),
            "\(report.requests)", "\(report.failed)", "\(report.lost)", Self.text(report.longestWait),
        ]
        return "<tr class=\"\(report.passed ? "pass" : "fail")\"><td><a href=\"#\(Self.escaped(report.name))\">"
            + "\(Self.escaped(report.name))</a>" + cells.map { "<td>\($0)" }.joined() + "</tr>"
    }

    private func section(_ report: DrillReport) -> String {
        var text = "<section id=\"\(Self.escaped(report.name))\"><h2>\(Self.escaped(report.name))</h2>"
        text += "<p>\(Self.escaped(report.shows))</p>"
        if let fault = report.fault { text += "<p class=\"fail\">\(Self.escaped(fault))</p>" }
        if !report.figures.isEmpty {
            let figures = report.figures.map { "\(Self.escaped($0.name)): \($0.value)" }
            text += "<p>\(figures.joined(separator: "; "))</p>"
        }
        if !report.proofs.isEmpty {
            text += "<table class=\"journal\"><tbody>"
            for proof in report.proofs {
                text += "<tr\(proof.isDetection ? " class=\"detection\"" : "")><td>\(Self.text(proof.after))"
                text += "<td>\(Self.escaped(proof.host))<td>\(Self.escaped(proof.text))</tr>"
            }
            text += "</tbody></table>"
        }
        return text + "</section>"
    }

    private static func text(_ time: Duration?) -> String {
        guard let time else { return "–" }
        let milliseconds = time.milliseconds
        return milliseconds < 1000
            ? "\(milliseconds) ms" : "\(milliseconds / 1000).\(milliseconds % 1000 / 100) s"
    }

    /// Journals have what others wrote: nothing of it is markup.
    static func escaped(_ text: String) -> String {
        var result = ""
        for character in text.unicodeScalars {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case _ where character.value < 0x20: result += " "
            default: result.unicodeScalars.append(character)
            }
        }
        return result
    }

    private static let style = """
        :root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
        table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884}
        td:not(:first-child){font-variant-numeric:tabular-nums}.pass td:first-child{border-left:4px solid #2a7}
        .fail td:first-child{border-left:4px solid #c33}p.pass{color:#2a7}p.fail{color:#c33}.note{opacity:.75;font-size:13px}
        .journal{font:12px/1.45 ui-monospace,monospace}.journal td:first-child,.journal td:nth-child(2){white-space:nowrap}
        .journal td:last-child{overflow-wrap:anywhere}.detection td{font-weight:700}
        """
}
