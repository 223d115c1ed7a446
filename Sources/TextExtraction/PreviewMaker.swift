import ChildProcess
import Glibc

/// What came of drawing one page of a document.
package enum Preview: Sendable, Equatable {
    /// PNG.
    case image([UInt8])
    case unavailable(Extraction.Reason)
    case noSuchPage
}

/// Draws pages of documents and pictures in a confined process of its own for each (`hds-extract preview`), through pipes:
/// nothing of a document touches a disk, an argument or an environment.
///
/// Calls block their thread for up to twice `limits.seconds`, and once more for each smaller size; callers bound how many run
/// at once.
package struct PreviewMaker: Sendable {
    /// What draws PDF (Debian: poppler-utils), in the place of `hds-extract`.
    package static let pdfConverter = "/usr/bin/pdftoppm"
    /// The word that asks `hds-extract` for a page in place of a text.
    package static let mode = "preview"
    package static let sizes = 32...2_048

    package let program: String
    /// `textSize` is that of the image.
    package let limits: ExtractionLimits

    package init(program: String, limits: ExtractionLimits) {
        self.program = program
        self.limits = limits
    }

    /// One page as PNG of at most `limits.textSize` octets.
    ///
    /// - Parameters:
    ///   - page: from 1.
    ///   - size: pixels of the longer side at most; fewer when it would get too large.
    package func preview(of document: [UInt8], page: Int, size: Int) -> Preview {
        guard document.count <= limits.documentSize else { return .unavailable(.tooLarge) }
        guard page >= 1, page <= 10_000, Self.sizes.contains(size) else { return .noSuchPage }
        var size = size
        while true {
            guard
                let child = Child(program: program, arguments: [Self.mode, limits.argument, "\(page)", "\(size)"])
            else { return .unavailable(.broke) }
            let (output, ending) = child.run(
                input: document, outputLimit: limits.textSize,
                deadline: .now.advanced(by: .seconds(2 * limits.seconds)))
            guard ending == .full, size / 2 >= Self.sizes.lowerBound else { return outcome(output, ending) }
            size /= 2
        }
    }

    private func outcome(_ output: [UInt8], _ ending: Child.Ending) -> Preview {
        switch ending {
        case .late, .signal(SIGXCPU): return .unavailable(.tooSlow)
        case .signal: return .unavailable(.broke)
        case .full: return .unavailable(.tooLarge)
        case .exit(let status):
            switch ExtractionStatus(rawValue: status) {
            case .whole:
                // pdftoppm draws nothing of a page that is not there, and says 0.
                if output.isEmpty { return .noSuchPage }
                return output.starts(with: [0x89, 0x50, 0x4E, 0x47]) ? .image(output) : .unavailable(.broke)
            case .unknownFormat: return .unavailable(.unknownFormat)
            case .protected: return .unavailable(.protected)
            case .tooLarge: return .unavailable(.tooLarge)
            case .unconfined: return .unavailable(.unconfined)
            // pdftoppm: 1 it does not open, 99 anything else, such as a page that is not there.
            default:
                return status == 99
                    ? .noSuchPage : .unavailable(status == 1 ? .damaged : status == 3 ? .protected : .broke)
            }
        }
    }
}
