import ChildProcess
import Glibc

/// Reads the text of documents in a confined process of its own for each (`hds-extract`), through pipes: nothing of a
/// document touches a disk, an argument or an environment.
///
/// Calls block their thread for up to twice `limits.seconds`; callers bound how many run at once.
package struct TextExtractor: Sendable {
    /// What reads PDF (Debian: poppler-utils), in the place of `hds-extract`.
    package static let pdfConverter = "/usr/bin/pdftotext"

    /// Path of `hds-extract`.
    package let program: String
    package let limits: ExtractionLimits

    package init(program: String, limits: ExtractionLimits = ExtractionLimits()) {
        self.program = program
        self.limits = limits
    }

    /// The text of a document. Blocks; never throws, for a document that can not be read is an ordinary outcome.
    package func text(of document: [UInt8]) -> Extraction {
        guard document.count <= limits.documentSize else { return .unreadable(.tooLarge) }
        guard let child = Child(program: program, arguments: [limits.argument]) else { return .unreadable(.broke) }
        let (output, ending) = child.run(
            input: document, outputLimit: limits.textSize, deadline: .now.advanced(by: .seconds(2 * limits.seconds)))
        return outcome(output, ending)
    }

    private func outcome(_ output: [UInt8], _ ending: Child.Ending) -> Extraction {
        switch ending {
        case .late, .signal(SIGXCPU): return .unreadable(.tooSlow)
        case .signal: return .unreadable(.broke)
        case .full: return .text(whole(output), isWhole: false)
        case .exit(let status):
            switch ExtractionStatus(rawValue: status) {
            case .whole: return .text(whole(output), isWhole: true)
            case .cut: return .text(whole(output), isWhole: false)
            case .unknownFormat: return .unreadable(.unknownFormat)
            case .damaged: return .unreadable(.damaged)
            case .protected: return .unreadable(.protected)
            case .tooLarge: return .unreadable(.tooLarge)
            case .unconfined: return .unreadable(.unconfined)
            // pdftotext: 1 it does not open, 3 its permissions; anything else is the reader's own end.
            case .usage, nil: return .unreadable(status == 1 ? .damaged : status == 3 ? .protected : .broke)
            }
        }
    }

    /// Characters cut at the end are left out.
    private func whole(_ output: [UInt8]) -> String {
        var end = output.count
        while end > 0, output.count - end < 4, output[end - 1] & 0xC0 == 0x80 { end -= 1 }
        let isCut =
            end > 0 && output[end - 1] >= 0xC0
            && output.count - end < (output[end - 1] >= 0xF0 ? 3 : output[end - 1] >= 0xE0 ? 2 : 1)
        return String(decoding: isCut ? output[..<(end - 1)] : output[...], as: UTF8.self)
    }
}
