/// Everything that the appliance may say of itself, as texts for those who read it: the catalog of the journal and a
/// page of documentation. Made from the declarations of alarms, events, metrics and fields, and from nothing else.
package enum Catalogue {
    /// A catalog for `journalctl --update-catalog`, shown by `journalctl -x`: what happened, then what to do.
    ///
    /// Format of systemd's catalog files: an entry for each MESSAGE_ID, `@FIELD@` for values.
    package static var journal: String {
        let entries = (Alarm.all.map(\.event) + Event.all).map { event in
            let alarm = Alarm.all.first { $0.id == event.id }
            var text = """
                -- \(event.messageID)
                Subject: \(event.message.source)
                Defined-By: hds

                \(wrapped(event.explanation))

                """
            if let fix = event.fix { text += "\n" + wrapped("What to do: " + fix) + "\n" }
            if let alarm { text += "\n" + wrapped("It goes away \(alarm.clears).") + "\n" }
            return text
        }
        return "# Made by hdsctl catalogue journal; change the declarations instead.\n\n"
            + entries.joined(separator: "\n")
    }

    /// `docs/catalogue.md`: alarms with their fixes, then events, metrics and fields of the journal.
    package static var page: String {
        var lines = [
            "# Catalogue: alarms, events, metrics, fields", "",
            "Made by `hdsctl catalogue page`; change the declarations in `Sources/Diagnostics` instead. An alarm stands "
                + "until its reason is gone; `journalctl ALARM_ID=ID` shows when it was raised and cleared, "
                + "`journalctl -x` explains it, the metric `hds_alarm{id=\"ID\"}` counts it.",
            "", "## Alarms", "",
        ]
        for alarm in Alarm.all {
            lines += [
                "### \(alarm.id)", "", "**\(alarm.severity.name)**: \(alarm.title).", "", alarm.text, "",
                "*What to do*: \(alarm.fix)", "", "*Goes away* \(alarm.clears).", "",
            ]
        }
        lines += ["## Events", "", "| event | severity | line | what to do |", "|---|---|---|---|"]
        for event in Event.all {
            lines.append(
                row([
                    "`\(event.id)`", event.severity.name, "`\(event.message.source)`. " + event.explanation,
                    event.fix ?? "",
                ]))
        }
        lines += ["", "## Metrics", "", "| metric | kind | labels | meaning |", "|---|---|---|---|"]
        for metric in Metric.all {
            lines.append(
                row(["`\(metric.name)`", metric.kind.name, metric.labels.joined(separator: ", "), metric.help]))
        }
        lines += ["", "## Fields of the journal", "", "| field | meaning |", "|---|---|"]
        for field in LogField.all { lines.append(row(["`\(field.name)`", field.meaning])) }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func row(_ cells: [String]) -> String {
        "| " + cells.map(escaped).joined(separator: " | ") + " |"
    }

    /// A bar would end the cell.
    private static func escaped(_ cell: String) -> String {
        cell.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|")
    }

    /// Broken at spaces into lines of at most 78 characters.
    private static func wrapped(_ text: String) -> String {
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty, line.count + 1 + word.count > 78 {
                lines.append(line)
                line = ""
            }
            line += (line.isEmpty ? "" : " ") + word
        }
        if !line.isEmpty { lines.append(line) }
        return lines.joined(separator: "\n")
    }
}
