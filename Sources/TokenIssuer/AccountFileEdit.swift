package import Diagnostics

/// Adds one entry to an accounts file that an administrator also edits by hand: comments, order and layout stay.
///
/// The new text is inserted as lines under `users:` or `services:`, checked as a whole by `AccountFile.parse`, and
/// written by a rename. A list with items in brackets is left alone, with an error that says so.
package enum AccountFileEdit {
    package enum Section: String, Sendable {
        case users
        case services
    }

    /// One entry: keys with values in the order of the file; a value is quoted where YAML wants it.
    package struct Entry: Sendable {
        private let lines: [String]

        package static func user(
            id: String, email: String, name: String, organisation: String?, passwordHash: String?
        ) -> Entry {
            Entry(
                [("id", id), ("email", email), ("name", name)] + (organisation.map { [("organisation", $0)] } ?? [])
                    + (passwordHash.map { [("password-hash", $0)] } ?? []))
        }

        package static func service(
            id: String, name: String, organisation: String?, secretHash: String, audiences: [Audience: [String]],
            introspects: [Audience] = [], keyThumbprint: String? = nil
        ) -> Entry {
            Entry(
                [("id", id), ("name", name)] + (organisation.map { [("organisation", $0)] } ?? [])
                    + [("secret-hash", secretHash)] + (keyThumbprint.map { [("key-thumbprint", $0)] } ?? []),
                more: (introspects.isEmpty
                    ? [] : ["introspects: [\(introspects.map(\.rawValue).joined(separator: ", "))]"])
                    + ["audiences:"]
                    + audiences.sorted { $0.key.rawValue < $1.key.rawValue }.map { audience, scopes in
                        "  \(audience.rawValue): [\(scopes.map(Entry.quoted).joined(separator: ", "))]"
                    })
        }

        private init(_ pairs: [(String, String)], more: [String] = []) {
            lines = pairs.map { "\($0): \(Entry.quoted($1))" } + more
        }

        /// Double-quoted YAML is JSON for all that can stand in these values.
        private static func quoted(_ text: String) -> String {
            let isPlain = text.utf8.allSatisfy { byte in
                (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || byte == 0x40 || byte == 0x2E
            }
            let word = text.lowercased()
            if isPlain, !text.isEmpty, text.first != ".", text.first != "@",
                !["true", "false", "yes", "no", "on", "off", "null", "y", "n"].contains(word)
            {
                return text
            }
            return "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
        }

        /// The entry as an item of a list whose dashes stand in this column (from 0).
        package func text(column: Int) -> String {
            let indentation = String(repeating: " ", count: column)
            return lines.enumerated().map { index, line in
                indentation + (index == 0 ? "- " : "  ") + line + "\n"
            }.joined()
        }
    }

    /// The file's text with the entry as the first of its section.
    package static func inserting(
        _ entry: Entry, into section: Section, of text: String, file: String
    ) throws(DiagnosedError) -> String {
        var result = text.isEmpty || text.hasSuffix("\n") ? text : text + "\n"
        let top = try StructuredText(text, file: file)
        let place = try top.keys().first { name, _ in (try? name.text()) == section.rawValue }
        if let (name, value) = place {
            var lines = result.split(separator: "\n", omittingEmptySubsequences: false).map { $0 + "\n" }
            lines.removeLast()
            guard lines.indices.contains(name.line - 1) else { throw name.refusal("the key was not found again") }
            var column = name.column + 1
            if try isEmptyList(value), let brackets = lines[name.line - 1].firstMatch(of: /\[ *\]/) {
                lines[name.line - 1].removeSubrange(brackets.range)
            } else if value.isSequence, value.isBlock {
                column = value.column - 1
            } else if try !isAbsent(value) {
                throw value.refusal(
                    "the list is not written with one item per line, so nothing can be added to it by command",
                    hint: "write its items on lines that start with a dash")
            }
            lines.insert(Substring(entry.text(column: column)), at: name.line)
            result = lines.joined()
        } else {
            result += (result.isEmpty ? "" : "\n") + "\(section.rawValue):\n" + entry.text(column: 2)
        }
        // What was meant and what YAML reads may differ: the result is judged like any other file.
        _ = try AccountFile.parse(result, file: file)
        return result
    }

    /// Adds the entry to the file at `path`; a new file gets mode 0600, an old one keeps its own.
    package static func add(_ entry: Entry, to section: Section, path: String) throws(DiagnosedError) {
        var text = ""
        var mode: UInt32 = 0o600
        if let existing = FileAccess.mode(of: path) {
            mode = existing
            let bytes = try FileAccess.read(
                path, maximumBytes: StructuredText.maximumBytes, forbidden: 0o027, kind: "accounts file"
            ).bytes
            guard let read = String(validating: bytes, as: UTF8.self) else {
                throw DiagnosedError(.accountsFile, fault: .configuration, "\(path): the file is not UTF-8")
            }
            text = read
        }
        let changed = try inserting(entry, into: section, of: text, file: path)
        try FileAccess.replace(path, with: Array(changed.utf8), mode: mode, kind: "accounts file")
    }

    private static func isEmptyList(_ value: StructuredText) throws(DiagnosedError) -> Bool {
        guard value.isSequence else { return false }
        return try value.items().isEmpty
    }

    private static func isAbsent(_ value: StructuredText) throws(DiagnosedError) -> Bool {
        guard !value.isSequence else { return false }
        return try value.text().isEmpty
    }
}
