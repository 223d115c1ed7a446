/// What the extraction of one document's text may cost.
package struct ExtractionLimits: Sendable, Equatable {
    /// Octets of the document; a larger one is not read.
    package var documentSize = 64 << 20
    /// Octets of text; what is over is left out, and said.
    package var textSize = 1 << 20
    /// Octets of address space of the process that reads it.
    package var memory = 1 << 30
    /// Seconds, of processor time and of wall time twice as many.
    package var seconds = 20

    package init() {}

    /// As the program gets them: `documentSize,textSize,memory,seconds`.
    package init?(argument: String) {
        let numbers = argument.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        guard numbers.count == 4, numbers.allSatisfy({ $0 > 0 }) else { return nil }
        (documentSize, textSize, memory, seconds) = (numbers[0], numbers[1], numbers[2], numbers[3])
    }

    package var argument: String { "\(documentSize),\(textSize),\(memory),\(seconds)" }
}

/// How `hds-extract` ended.
package enum ExtractionStatus: Int32, Sendable {
    case whole = 0
    /// There is more text than the limit, or the document breaks off.
    case cut = 10
    case unknownFormat = 11
    case damaged = 12
    /// Encrypted, with a password.
    case protected = 13
    case tooLarge = 14
    /// This system can not confine it: nothing was looked at.
    case unconfined = 15
    case usage = 64
}
