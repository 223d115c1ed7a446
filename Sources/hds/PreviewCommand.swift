import ArgumentParser
import Diagnostics
import Glibc
import HDSClient
import WireText

struct PreviewCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "preview", abstract: "Save a page of a file as a picture, without fetching the file.",
        discussion: """
            The organisation's transcoding service draws it, by the organisation's consent, and seals it as the message is \
            sealed: the cloud sees neither. PDF, JPEG and PNG have previews.
            """)

    @Argument(help: "Name, or beginning of the id.") var space: String
    @Argument(help: "Number of the entry, such as #12.") var number: String
    @Option(help: "Which page.") var page = 1
    @Option(help: "Pixels of the longer side at most, 32 to 2048.") var size = 1_024
    @Option(name: [.customShort("o"), .long], help: ArgumentHelp("Where to write the PNG.", valueName: "path"))
    var output = "preview.png"
    @OptionGroup var common: CommonOptions

    func run() async throws {
        guard let sequence = Int64(number.hasPrefix("#") ? String(number.dropFirst()) : number) else {
            throw ValidationError("a file is named by the number of its entry, such as #12")
        }
        try await common.withClient { client in
            let found = try await client.spaces.find(space)
            let image = try await client.spaces.preview(of: sequence, page: page, size: size, in: found)
            let descriptor = open(output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else {
                throw DiagnosedError(
                    .fileUnusable, fault: .client, "can not write \(output)", found: String(cString: strerror(errno)),
                    hint: "choose another --output")
            }
            defer { close(descriptor) }
            guard image.withUnsafeBytes({ Glibc.write(descriptor, $0.baseAddress, $0.count) }) == image.count else {
                throw DiagnosedError(.fileUnusable, fault: .client, "can not write \(output)")
            }
            Terminal.output.line("\(output), \(image.count) octets.")
        }
    }
}
