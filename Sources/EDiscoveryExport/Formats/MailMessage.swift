import Cryptography
import EDiscoveryModel
import WireText

/// One item as a message of RFC 5322 with its earlier texts and its files as MIME parts.
///
/// Everything that is not known as a header of mail stands in fields of `X-HDS-`. The author is in `From`, who was in the space
/// in `To`; both with the address of the customer's directory. Files go from the package into the message in pieces.
struct MailMessage {
    let entry: ExportEntry
    /// As `header` made it.
    let header: [String]
    let settings: ExportSettings
    let folder: PackageFolder
    /// CR LF for a file, a line feed for a mailbox.
    let lineEnd: [UInt8]

    func write(to file: PackageFile) throws {
        let item = entry.item
        for line in header { try self.line(line, file) }
        let attachments = zip(item.files, entry.exported.files).filter { $1.path != nil }
        guard !attachments.isEmpty || !item.history.isEmpty else {
            return try text(shownText, extra: [], file)
        }
        let boundary = "=_" + Hexadecimal.encode(Array(SHA256.hash(Array(entry.exported.number.utf8)).prefix(16)))
        try line("Content-Type: multipart/mixed; boundary=\"\(boundary)\"", file)
        try line("", file)
        try line("--\(boundary)", file)
        try text(shownText, extra: [], file)
        if !item.history.isEmpty {
            try line("--\(boundary)", file)
            try text(history, extra: ["Content-Disposition: inline; filename=\"history.txt\""], file)
        }
        for (attachment, place) in attachments {
            guard let path = place.path else { continue }
            try line("--\(boundary)", file)
            try self.attachment(attachment, place.number, path, file)
        }
        try line("--\(boundary)--", file)
    }

    private func line(_ text: String, _ file: PackageFile) throws {
        try file.write(text)
        try file.write(lineEnd)
    }

    /// The fields of an item's message, the same in every form of mail.
    static func header(of entry: ExportEntry, _ zone: ZoneRules) -> [String] {
        let item = entry.item
        var lines = MailHeader.addresses("From", [item.author])
        lines += MailHeader.addresses("To", entry.recipients)
        lines += MailHeader.text("Subject", entry.space.title)
        lines.append("Date: \(ShownTime(item.published, in: zone).mail)")
        lines.append("Message-ID: <\(messageID(item.id, entry))>")
        if let parent = item.parent {
            lines.append("In-Reply-To: <\(messageID(parent, entry))>")
            lines.append("References: <\(messageID(parent, entry))>")
        }
        lines.append("MIME-Version: 1.0")
        lines.append("X-HDS-Number: \(entry.exported.number)")
        lines += MailHeader.text("X-HDS-Item", item.id)
        lines += MailHeader.text("X-HDS-Space", item.space)
        lines.append("X-HDS-Sequence: \(item.sequence)")
        lines.append("X-HDS-Kind: \(item.kind.rawValue)")
        lines.append("X-HDS-Published: \(item.published.iso8601)")
        for custodian in item.custodians { lines += MailHeader.text("X-HDS-Custodian", custodian) }
        if item.isContext { lines.append("X-HDS-Context: yes") }
        if !item.history.isEmpty { lines.append("X-HDS-Edits: \(item.history.count)") }
        if let deletion = item.deletion {
            lines += MailHeader.text("X-HDS-Deleted", "\(deletion.at.iso8601) by \(deletion.by.described)")
        }
        for problem in item.problems {
            lines += MailHeader.text("X-HDS-Problem", "\(problem.problemClass.rawValue): \(problem.text)")
        }
        return lines
    }

    private static func messageID(_ id: String, _ entry: ExportEntry) -> String {
        "\(ExportName.token(id))@\(ExportName.token(entry.space.space.id).lowercased()).hds.invalid"
    }

    private var shownText: String {
        if let text = entry.item.text { return text }
        let problems = entry.item.problems.map { "[\($0.problemClass.rawValue): \($0.text)]" }
        return problems.isEmpty ? (entry.item.files.isEmpty ? "[no text]" : "") : problems.joined(separator: "\n")
    }

    private var history: String {
        var text = ""
        for version in entry.item.history {
            let until = ShownTime(version.until, in: settings.zone).iso8601
            text += "--- until \(until), when \(version.editor.described) changed it ---\n"
            text += (version.text ?? "[could not be opened]") + "\n\n"
        }
        return text
    }

    private func text(_ text: String, extra: [String], _ file: PackageFile) throws {
        let isQuoted = MailBody.isMostlyASCII(text)
        try line("Content-Type: text/plain; charset=utf-8", file)
        for line in extra { try self.line(line, file) }
        try line("Content-Transfer-Encoding: \(isQuoted ? "quoted-printable" : "base64")", file)
        try line("", file)
        if isQuoted {
            try line(String(decoding: MailBody.quotedPrintable(text, lineEnd: lineEnd), as: UTF8.self), file)
        } else {
            try file.write(MailBody.base64Lines(Array(text.utf8), lineEnd: lineEnd))
        }
    }

    private func attachment(_ attachment: CollectedFile, _ number: String, _ path: String, _ file: PackageFile) throws {
        let name = ExportName.base(attachment.name, fallback: number)
        try line("Content-Type: \(MailHeader.mediaType(attachment.mediaType))", file)
        try line("Content-Disposition: attachment;", file)
        try line(" " + MailHeader.parameter("filename", name), file)
        try line("Content-Transfer-Encoding: base64", file)
        try line("X-HDS-Number: \(number)", file)
        try line("", file)
        let reader = try folder.reader(path)
        // Whole lines in each piece, but the last.
        while let chunk = try reader.read(exactly: 57 * 2048) {
            try file.write(MailBody.base64Lines(chunk, lineEnd: lineEnd))
        }
    }
}

/// Both forms of mail, whose messages have one header.
///
/// `eml/`: a file for each message. `mbox/`: a mailbox for each space that has messages, in the form of Unix (RFC 4155); no line
/// of a message needs a `>`.
final class MailFiles: ExportWriter {
    private let folder: PackageFolder
    private let settings: ExportSettings
    private let hasBoxes: Bool
    private var box: PackageFile?

    init(_ folder: PackageFolder, _ settings: ExportSettings) {
        self.folder = folder
        self.settings = settings
        hasBoxes = settings.formats.contains(.mbox)
    }

    func add(_ entry: ExportEntry) throws {
        guard entry.exported.isMessage else { return }
        let header = MailMessage.header(of: entry, settings.zone)
        func message(_ lineEnd: [UInt8]) -> MailMessage {
            MailMessage(entry: entry, header: header, settings: settings, folder: folder, lineEnd: lineEnd)
        }
        if let path = entry.mailPath {
            let file = try folder.file(path)
            try message([0x0D, 0x0A]).write(to: file)
            try file.close()
        }
        guard hasBoxes else { return }
        let box = try box ?? folder.file("mbox/\(entry.space.stem).mbox")
        self.box = box
        let item = entry.item
        try box.write("From \(MailHeader.address(item.author)) \(ShownTime(item.published, in: .utc).envelope)\n")
        try message([0x0A]).write(to: box)
        try box.write("\n")
    }

    func end(_ space: SpacePlace) throws {
        try box?.close()
        box = nil
    }
}

/// `text/`: the text of each item, for load files.
final class TextFiles: ExportWriter {
    private let folder: PackageFolder

    init(_ folder: PackageFolder) { self.folder = folder }

    func add(_ entry: ExportEntry) throws {
        guard let path = entry.textPath else { return }
        let file = try folder.file(path)
        try file.write(entry.item.text ?? (entry.exported.isMessage ? "" : entry.exported.sentence))
        try file.close()
    }
}
