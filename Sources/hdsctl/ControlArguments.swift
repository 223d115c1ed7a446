import ArgumentParser
import ControlSocket
import Diagnostics
import WireText

/// The arguments of a command, built from options that may be absent.
struct ArgumentsWriter: ~Copyable {
    private var json = JSONWriter()

    init() { json.beginObject() }

    mutating func add(_ name: String, _ text: String?) { json.member(name, ifPresent: text) }
    mutating func add(_ name: String, if isSet: Bool) { if isSet { json.member(name, true) } }

    consuming func node() throws(DiagnosedError) -> JSONNode {
        json.endObject()
        return try JSONDocument(json.bytes()).root
    }
}

/// What a command has that only asks the service something: where it listens, and whether people read the answer.
struct QuestionOptions: ParsableArguments {
    @OptionGroup var control: SocketOptions
    @Flag(help: "Print one JSON object.")
    var json = false

    /// Asks without arguments; prints the answer as it came for `--json`, else hands it to `tell`.
    func ask(_ command: String, _ tell: (JSONNode) throws -> Void) throws {
        try reporting {
            let answer = try ControlClient(path: control.socket).send(command, arguments: ArgumentsWriter().node())
            guard !json else { return print(Terminal.plain(answer.rawText)) }
            try tell(answer)
        }
    }
}

/// Text in aligned columns, for people; the last column is as long as it is.
enum Columns {
    static func lines(_ rows: [[String]]) -> [String] {
        var widths: [Int] = []
        for row in rows {
            for (column, text) in row.enumerated() {
                if column == widths.count { widths.append(0) }
                widths[column] = max(widths[column], text.count)
            }
        }
        return rows.map { row in
            let cells = row.enumerated().map { column, text in
                column == row.count - 1 ? text : text + String(repeating: " ", count: widths[column] - text.count)
            }
            var line = cells.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}

extension JSONNode {
    /// A member's text, or `-`.
    func text(_ name: String) -> String { self[name]?.string ?? "-" }
    func number(_ name: String) -> Int64 { self[name]?.integer ?? 0 }
    func texts(_ name: String) -> [String] { self[name]?.strings ?? [] }
    func nodes(_ name: String) -> [JSONNode] { self[name]?.elements ?? [] }
}

/// A point in time as people write it: with a time, or a day meant with its first moment.
func moment(_ text: String?, _ option: String) throws(DiagnosedError) -> String? {
    guard let text else { return nil }
    guard let moment = Timestamp(iso8601: text) ?? Timestamp(iso8601: text + "T00:00:00Z") else {
        throw DiagnosedError(
            "usage", fault: .client, "\(option) is no time", expected: "such as 2027-01-15T09:00:00Z or 2027-01-15")
    }
    return moment.iso8601
}

func show(_ lines: [String]) { for line in lines { print(Terminal.plain(line)) } }
