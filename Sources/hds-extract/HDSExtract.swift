import Confinement
import DocumentText
import Glibc
import TextExtraction

/// `hds-extract`: the text of one document, from the standard input to the standard output, as UTF-8.
///
/// Started by a service for each document, and confined before the document is looked at (`Confinement`). It says why there
/// is no text by its exit status (`ExtractionStatus`) and never by words: they could be the document's. PDF is read by
/// poppler's `pdftotext`, which takes this program's place and keeps its confinement.
@main
enum HDSExtract {
    static func main() {
        let arguments = CommandLine.arguments
        if arguments.count == 5, arguments[1] == PreviewMaker.mode { drawPage(arguments) }
        guard arguments.count == 2, let limits = ExtractionLimits(argument: arguments[1]) else {
            complain("hds-extract is started by the services of the bundle: hds-extract LIMITS <DOCUMENT >TEXT\n")
            end(.usage)
        }
        guard let octets = standardInput(atMost: limits.documentSize) else { end(.tooLarge) }
        let kind = DocumentKind(octets)
        if kind == .pdf { prepareForAnother(octets) }
        let confinement = Confinement(
            memory: UInt64(limits.memory), seconds: UInt64(limits.seconds), mayBecomeAnotherProgram: kind == .pdf)
        do { try confinement.enter() } catch { end(.unconfined) }

        var isPartial = false
        var text = TextBuffer(limit: limits.textSize)
        switch kind {
        case .unknown: end(.unknownFormat)
        case .pdf: becomeConverter()
        case .text: PlainText.read(octets, into: &text)
        case .html:
            switch HTMLText.read(octets, into: &text) {
            case .read: break
            case .partly: isPartial = true
            case .damaged: end(.damaged)
            }
        case .office:
            switch OfficeText.read(octets, into: &text) {
            case .read: break
            case .partly: isPartial = true
            case .unknown: end(.unknownFormat)
            case .damaged: end(.damaged)
            case .protected: end(.protected)
            }
        }
        writeOut(text.octets)
        end(text.isCut || isPartial ? .cut : .whole)
    }

    /// One page as PNG: `hds-extract preview LIMITS PAGE SIZE <DOCUMENT >IMAGE`.
    private static func drawPage(_ arguments: [String]) -> Never {
        guard let limits = ExtractionLimits(argument: arguments[2]), let page = Int(arguments[3]),
            var size = Int(arguments[4]), page >= 1, PreviewMaker.sizes.contains(size)
        else { end(.usage) }
        guard var octets = standardInput(atMost: limits.documentSize) else { end(.tooLarge) }
        if ImagePage.isImage(octets) {
            guard let image = ImagePage.page(of: octets) else { end(.unknownFormat) }
            // A small picture is not made larger.
            size = min(size, max(image.width, image.height))
            octets = image.pdf
        } else {
            guard DocumentKind(octets) == .pdf else { end(.unknownFormat) }
            if isEncrypted(octets) { end(.protected) }
        }
        guard access(PreviewMaker.pdfConverter, X_OK) == 0 else { end(.unknownFormat) }
        guard MemoryFile.becomeStandardInput(octets) else { end(.unconfined) }
        octets = []
        let confinement = Confinement(
            memory: UInt64(limits.memory), seconds: UInt64(limits.seconds), mayBecomeAnotherProgram: true)
        do { try confinement.enter() } catch { end(.unconfined) }
        become(
            PreviewMaker.pdfConverter,
            ["pdftoppm", "-q", "-png", "-f", "\(page)", "-l", "\(page)", "-scale-to", "\(size)", "-"])
    }

    /// nil: there is more than that.
    private static func standardInput(atMost limit: Int) -> [UInt8]? {
        var octets: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = read(STDIN_FILENO, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return octets }
            guard octets.count + count <= limit else { return nil }
            octets.append(contentsOf: chunk[..<count])
        }
    }

    /// The document again as the standard input, in memory only.
    private static func prepareForAnother(_ octets: [UInt8]) {
        if isEncrypted(octets) { end(.protected) }
        guard access(TextExtractor.pdfConverter, X_OK) == 0 else { end(.unknownFormat) }
        guard MemoryFile.becomeStandardInput(octets) else { end(.unconfined) }
    }

    /// The dictionary of the trailer names what encrypts the document (ISO 32000, 7.5.5); one that opens without a
    /// password is left out too.
    private static func isEncrypted(_ octets: [UInt8]) -> Bool {
        let word = Array("/Encrypt".utf8)
        return octets.indices.dropLast(word.count).contains {
            octets[$0] == 0x2F && octets[$0...].starts(with: word)
        }
    }

    private static func becomeConverter() -> Never {
        become(TextExtractor.pdfConverter, ["pdftotext", "-q", "-enc", "UTF-8", "-nopgbrk", "-", "-"])
    }

    private static func become(_ program: String, _ line: [String]) -> Never {
        let words: [UnsafeMutablePointer<CChar>?] = line.map { strdup($0) } + [nil]
        let environment: [UnsafeMutablePointer<CChar>?] = [strdup("LC_ALL=C.UTF-8"), nil]
        execve(program, words, environment)
        end(.unconfined)
    }

    private static func writeOut(_ octets: [UInt8]) {
        var written = 0
        while written < octets.count {
            let count = octets[written...].withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            written += count
        }
    }

    private static func complain(_ line: String) {
        _ = Array(line.utf8).withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    private static func end(_ status: ExtractionStatus) -> Never {
        _exit(status.rawValue)
    }
}
