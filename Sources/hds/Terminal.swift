import Glibc

/// One output of the command: colours and progress only where a person looks at it.
struct Terminal: Sendable {
    static let output = Terminal(descriptor: 1)
    static let error = Terminal(descriptor: 2)

    enum Style: String {
        case bold = "1"
        case dim = "2"
        case red = "31"
        case green = "32"
        case yellow = "33"
        case cyan = "36"
    }

    let descriptor: Int32
    let isTerminal: Bool
    private let hasColour: Bool

    private init(descriptor: Int32) {
        self.descriptor = descriptor
        isTerminal = isatty(descriptor) == 1
        hasColour = isTerminal && getenv("NO_COLOR") == nil && getenv("TERM").map { strcmp($0, "dumb") != 0 } ?? false
    }

    func line(_ text: String = "") { write(text + "\n") }

    func write(_ text: String) { write(Array(text.utf8)) }

    func write(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let count = Glibc.write(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done)
                if count < 0, errno == EINTR { continue }
                // Nobody reads any more.
                guard count > 0 else { Glibc.exit(1) }
                done += count
            }
        }
    }

    func styled(_ text: String, _ styles: Style...) -> String {
        guard hasColour else { return text }
        return "\u{1B}[" + styles.map(\.rawValue).joined(separator: ";") + "m" + text + "\u{1B}[0m"
    }

    /// Text of others, harmless for a terminal: control characters and marks that turn the direction of writing are
    /// shown as `�`. Line feeds stay when `lines` says so.
    func clean(_ text: String, lines: Bool = false) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x0A where lines, 0x09: result.append(scalar)
            case 0x00...0x1F, 0x7F...0x9F, 0x202A...0x202E, 0x2066...0x2069: result.append("\u{FFFD}")
            default: result.append(scalar)
            }
        }
        return String(result)
    }

    /// A line that is written over by the next; nothing where nobody looks.
    func progress(_ text: String) {
        if isTerminal { write("\r\u{1B}[K" + text) }
    }

    func endProgress() {
        if isTerminal { write("\r\u{1B}[K") }
    }

    /// Columns of equal width; the last one is not padded.
    func table(_ rows: [[String]], header: [String]) {
        guard let first = rows.first else { return }
        let all = [header] + rows
        let widths = first.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        for (index, row) in all.enumerated() {
            let cells = row.enumerated().map { column, cell in
                column == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[column] - cell.count)
            }
            let text = cells.joined(separator: "  ")
            line(index == 0 ? styled(text, .bold) : text)
        }
    }
}

/// Sizes as people write them.
enum Size {
    static func text(_ bytes: Int) -> String {
        var value = Double(bytes)
        for unit in ["B", "KiB", "MiB"] {
            if value < 1024 { return unit == "B" ? "\(bytes) B" : "\(tenths(value)) \(unit)" }
            value /= 1024
        }
        return "\(tenths(value)) GiB"
    }

    private static func tenths(_ value: Double) -> String {
        let rounded = Int((value * 10).rounded())
        return rounded % 10 == 0 ? "\(rounded / 10)" : "\(rounded / 10).\(rounded % 10)"
    }
}
