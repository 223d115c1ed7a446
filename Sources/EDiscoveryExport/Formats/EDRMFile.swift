import EDiscoveryModel
import WireText

/// `edrm.xml`: EDRM XML 1.2, a document for each item and each file, and which file belongs to which item.
///
/// The relationships stand behind the documents, so they wait in a file of their own.
final class EDRMFile: ExportWriter {
    private let file: PackageFile
    private let relations: (file: PackageFile, place: String)
    private let folder: PackageFolder
    private let settings: ExportSettings

    init(_ folder: PackageFolder, _ settings: ExportSettings) throws {
        self.folder = folder
        self.settings = settings
        file = try folder.file("edrm.xml")
        relations = try folder.scratch("relations")
        try file.write(
            """
            <?xml version="1.0" encoding="UTF-8"?>
            <Root MajorVersion="1" MinorVersion="2" Description="\(XML.escape("eDiscovery export " + settings.report))" \
            Locale="US" DataInterchangeType="Update">
            <Batch>
            <Documents>

            """)
    }

    func add(_ entry: ExportEntry) throws {
        let item = entry.item
        let exported = entry.exported
        var tags: [(String, String, String)] = [
            ("#From", "Text", item.author.described),
            ("#To", "Text", entry.recipientList),
            ("#Subject", "Text", entry.space.title), ("#DateSent", "DateTime", item.published.iso8601),
            ("#Custodian", "Text", entry.custodians.first ?? ""),
            ("AllCustodians", "Text", entry.custodianList), ("ItemId", "Text", item.id),
            ("Kind", "Text", item.kind.rawValue), ("ConversationId", "Text", item.space),
            ("Sequence", "LongInteger", String(item.sequence)),
            ("Context", "Boolean", item.isContext ? "true" : "false"),
        ]
        if let parent = item.parent { tags.append(("#InReplyTo", "Text", parent)) }
        if let deletion = item.deletion { tags.append(("Deleted", "DateTime", deletion.at.iso8601)) }
        if !item.files.isEmpty {
            tags.append(("#AttachmentCount", "LongInteger", String(item.files.count)))
            let names = item.files.map { ExportName.visible($0.name ?? "(name not opened)") }
            tags.append(("#AttachmentNames", "Text", ExportEntry.list(names)))
        }
        for problem in item.problems {
            tags.append(("Problem", "Text", "\(problem.problemClass.rawValue): \(problem.text)"))
        }
        try begin(exported.number, "Message", mediaType: entry.mailPath == nil ? nil : "message/rfc822")
        try write(tags)
        try file.write("<Files>\n")
        if let path = entry.mailPath { try external("Native", path) }
        if let path = entry.textPath { try external("Text", path) }
        try file.write("</Files>\n</Document>\n")
        for (attachment, place) in zip(item.files, exported.files) {
            try begin(place.number, "File", mediaType: attachment.mediaType.map { MailHeader.mediaType($0) })
            try write([
                ("#FileName", "Text", attachment.name.map { ExportName.visible($0) } ?? ""),
                ("#FileExtension", "Text", ExportName.ending(attachment.name) ?? ""),
                ("#FileSize", "LongInteger", attachment.size.map { String($0) } ?? ""),
                ("#Custodian", "Text", entry.custodians.first ?? ""),
            ])
            try file.write("<Files>\n")
            if let path = place.path { try external("Native", path, attachment) }
            try file.write("</Files>\n</Document>\n")
            try relations.file.write(
                "<Relationship Type=\"Container\" ParentDocId=\"\(exported.number)\" ChildDocId=\"\(place.number)\"/>\n"
            )
        }
    }

    private func begin(_ number: String, _ type: String, mediaType: String?) throws {
        let media = mediaType.map { " MimeType=\"\(XML.escape($0))\"" } ?? ""
        try file.write("<Document DocID=\"\(number)\" DocType=\"\(type)\"\(media)>\n")
    }

    private func write(_ tags: [(name: String, type: String, value: String)]) throws {
        try file.write("<Tags>\n")
        for tag in tags where !tag.value.isEmpty {
            try file.write(
                "<Tag TagName=\"\(tag.name)\" TagDataType=\"\(tag.type)\" TagValue=\"\(XML.escape(tag.value))\"/>\n")
        }
        try file.write("</Tags>\n")
    }

    private func external(_ type: String, _ path: String, _ content: CollectedFile? = nil) throws {
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        var text = "<File FileType=\"\(type)\"><ExternalFile FilePath=\"\(path[..<slash])\" "
        text += "FileName=\"\(path[slash...].dropFirst())\""
        if let size = content?.size { text += " FileSize=\"\(size)\"" }
        if let digest = content?.digest { text += " Hash=\"\(Hexadecimal.encode(digest))\"" }
        try file.write(text + "/></File>\n")
    }

    func finish() throws {
        try relations.file.close()
        try file.write("</Documents>\n<Relationships>\n")
        let reader = try PackageReader(relations.place)
        while let chunk = try reader.read() { try file.write(chunk) }
        try file.write("</Relationships>\n</Batch>\n</Root>\n")
        try file.close()
    }
}

/// Text within XML 1.0 and HTML: what neither may hold becomes U+FFFD, and line ends survive the reading of attributes.
enum XML {
    static func escape(_ text: String, keepsLines: Bool = false) -> String {
        let isPlain = text.utf8.allSatisfy { octet in
            switch octet {
            case UInt8(ascii: "&"), UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "\""), UInt8(ascii: "'"): false
            default: (0x20...0x7E).contains(octet)
            }
        }
        if isPlain { return text }
        var result = String.UnicodeScalarView()
        func put(_ text: String) { result.append(contentsOf: text.unicodeScalars) }
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": put("&amp;")
            case "<": put("&lt;")
            case ">": put("&gt;")
            case "\"": put("&quot;")
            case "'": put("&#39;")
            case "\n" where keepsLines: result.append(scalar)
            case "\t", "\n", "\r": put("&#\(scalar.value);")
            case "\u{0}"..<" ", "\u{7F}"..<"\u{A0}": result.append("\u{FFFD}")
            default:
                result.append(
                    scalar.value & 0xFFFE == 0xFFFE || (0xFDD0...0xFDEF).contains(scalar.value) ? "\u{FFFD}" : scalar)
            }
        }
        return String(result)
    }
}
