import EDiscoveryModel
import WireText

/// One item of a transcript as HTML.
struct TranscriptItem {
    let entry: ExportEntry
    let zone: ZoneRules
    /// The id that it answers, and what is known of that item.
    let parent: (id: String, shown: RecentItems.Shown?)?

    var html: String {
        let item = entry.item
        let number = entry.exported.number
        var classes = ["item"]
        if !entry.exported.isMessage { classes.append("event") }
        if item.isContext { classes.append("context") }
        if item.deletion != nil { classes.append("deleted") }
        if parent != nil { classes.append("reply") }
        let time = ShownTime(item.published, in: zone)
        var html = "<article id=\"\(number)\" class=\"\(classes.joined(separator: " "))\">\n"
        html += face
        html += "<div class=\"body\">\n<p class=\"who\">"
        if entry.exported.isMessage {
            html += "<b><bdi>\(XML.escape(item.author.shown))</bdi></b> "
            if let email = item.author.email, item.author.name != nil {
                html += "<bdi class=\"quiet\">\(XML.escape(ExportName.visible(email)))</bdi> "
            }
        } else {
            html += "<bdi>\(XML.escape(entry.exported.sentence))</bdi> "
        }
        html += "<time datetime=\"\(item.published.iso8601)\" title=\"\(item.published.iso8601)\">"
        html += "\(time.clock(seconds: true))</time>"
        for tag in tags { html += " <span class=\"tag\">\(tag)</span>" }
        html += "</p>\n"
        html += answer + text + history + files + problems
        html += "<p class=\"number\">\(number) · \(item.sequence) · \(XML.escape(ExportName.visible(item.id)))</p>\n"
        return html + "</div>\n</article>\n"
    }

    /// The author's first letter on one of a few colours.
    private var face: String {
        guard entry.exported.isMessage else { return "<span class=\"face\"></span>\n" }
        let author = entry.item.author
        let colour = author.id.utf8.reduce(0) { ($0 * 31 + Int($1)) % 8 }
        let letter = author.shown.first.map { XML.escape(String($0).uppercased()) } ?? ""
        return "<span class=\"face f\(colour)\" aria-hidden=\"true\">\(letter)</span>\n"
    }

    private var tags: [String] {
        let item = entry.item
        var tags: [String] = []
        if item.isContext { tags.append("context") }
        if !item.history.isEmpty { tags.append("edited") }
        if item.deletion != nil { tags.append("deleted") }
        if item.problems.contains(where: { !$0.isWarning }) { tags.append("incomplete") }
        return tags
    }

    private var answer: String {
        guard let parent else { return "" }
        guard let shown = parent.shown else {
            return "<p class=\"answer\">answers \(XML.escape(ExportName.visible(parent.id)))</p>\n"
        }
        return
            "<p class=\"answer\">answers <a href=\"\(shown.link)\"><bdi>\(XML.escape(shown.author))</bdi>, \(shown.clock)</a>: "
            + "<q dir=\"auto\">\(XML.escape(shown.start))</q></p>\n"
    }

    private var text: String {
        guard entry.exported.isMessage, let text = entry.item.text else { return deletion }
        return "<div class=\"text\" dir=\"auto\">\(XML.escape(text, keepsLines: true))</div>\n" + deletion
    }

    private var deletion: String {
        guard let deletion = entry.item.deletion else { return "" }
        return "<p class=\"gone\">deleted by <bdi>\(XML.escape(deletion.by.described))</bdi>, "
            + "\(ShownTime(deletion.at, in: zone).short)</p>\n"
    }

    private var history: String {
        let versions = entry.item.history
        guard !versions.isEmpty else { return "" }
        var html =
            "<details open><summary>\(versions.count) earlier \(versions.count == 1 ? "text" : "texts")</summary><ol>\n"
        for version in versions {
            html += "<li><p class=\"quiet\">until \(ShownTime(version.until, in: zone).short), changed by "
            html += "<bdi>\(XML.escape(version.editor.described))</bdi></p>"
            html +=
                version.text.map { "<div class=\"text\" dir=\"auto\">\(XML.escape($0, keepsLines: true))</div>" }
                ?? "<p class=\"gone\">could not be opened</p>"
            html += "</li>\n"
        }
        return html + "</ol></details>\n"
    }

    /// What a browser shows without running anything. Other files are named, and not linked: one that is a page would run.
    private static let linked: Set<String> = [
        "pdf", "png", "jpg", "jpeg", "gif", "webp", "txt", "csv", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt",
        "ods",
        "odp", "zip", "mp3", "mp4", "wav",
    ]

    private var files: String {
        guard !entry.item.files.isEmpty else { return "" }
        var html = "<ul class=\"files\">\n"
        for (file, place) in zip(entry.item.files, entry.exported.files) {
            let name = "<bdi>\(XML.escape(file.name.map { ExportName.visible($0) } ?? "(name not opened)"))</bdi>"
            html += "<li>"
            if let path = place.path, let ending = ExportName.ending(file.name), Self.linked.contains(ending) {
                let saved = XML.escape(ExportName.base(file.name, fallback: place.number))
                html += "<a href=\"../\(path)\" download=\"\(saved)\">\(name)</a>"
            } else {
                html += name
            }
            html += " <span class=\"quiet\">\(place.number)"
            if let size = file.size { html += ", \(size) octets" }
            html += place.path.map { ", \($0)" } ?? ", not exported"
            html += "</span></li>\n"
        }
        return html + "</ul>\n"
    }

    private var problems: String {
        guard !entry.item.problems.isEmpty else { return "" }
        var html = "<ul class=\"problems\">\n"
        for problem in entry.item.problems {
            html += "<li class=\"\(problem.isWarning ? "warning" : "error")\"><b>\(problem.problemClass.rawValue)</b> "
            html += "\(XML.escape(ExportName.visible(problem.text, limit: 2000)))</li>\n"
        }
        return html + "</ul>\n"
    }
}
