import ChildProcess
import Diagnostics
import Glibc

/// xmlsec1 (Debian: xmlsec1) as a program for each signature: it canonicalises and verifies, and gives what it did that for.
///
/// Message and certificate go through pipes, so nothing touches a disk. Only the key that is
/// given can be used: of `KeyInfo` nothing is read (`--enabled-key-data`), nothing outside the message is fetched
/// (`--enabled-reference-uris`). Calls block their thread for up to `seconds`.
struct XMLSecProgram: Sendable {
    let path: String
    let seconds: Int64

    static let standardPath = "/usr/bin/xmlsec1"

    /// What the signature stands for, in canonical form, as xmlsec1 gave it.
    struct Signed: Sendable, Equatable {
        /// `SignedInfo`.
        let info: [UInt8]
        /// The element that it refers to, after the transforms.
        let element: [UInt8]
    }

    /// The elements whose attribute `ID` counts as one.
    private static let named = [
        SAMLNames.assertion + ":Assertion", SAMLNames.samlProtocol + ":Response",
        SAMLNames.samlProtocol + ":LogoutRequest",
    ]

    /// - Parameters:
    ///   - signature: an XPath that leads to one signature.
    ///   - certificate: of the key, PEM; a key alone would have to be a file, for it is tried as a private one first.
    /// - Returns: nil when the signature does not verify.
    func verify(_ message: [UInt8], signature: String, certificate: String) throws(DiagnosedError) -> Signed? {
        let file = try readable(Array(certificate.utf8))
        defer { close(file) }
        var arguments = [
            "--verify", "--enabled-reference-uris", "same-doc", "--enabled-key-data", "raw-x509-cert",
            "--pubkey-cert-pem",
            "/proc/self/fd/3",
        ]
        for name in Self.named { arguments += ["--id-attr:ID", name] }
        arguments += ["--node-xpath", signature, "--store-references", "--store-signatures", "--print-debug", "-"]
        guard let child = Child(program: path, arguments: arguments, files: [file]) else {
            throw trouble("it does not start")
        }
        let (output, ending) = child.run(
            input: message, outputLimit: 4 * XMLReading.maximumBytes, deadline: .now + .seconds(seconds))
        switch ending {
        case .exit(0): return Self.signed(output)
        case .exit(127): throw trouble("it does not start")
        case .exit: return nil
        case .full: throw trouble("it gives too much")
        case .late: throw trouble("it takes more than \(seconds) s")
        case .signal(let signal): throw trouble("it was ended by signal \(signal)")
        }
    }

    /// Whether it is there and runs.
    func check() throws(DiagnosedError) {
        guard let child = Child(program: path, arguments: ["--version"]) else { throw trouble("it does not start") }
        let (output, ending) = child.run(input: [], outputLimit: 4096, deadline: .now + .seconds(seconds))
        guard ending == .exit(0), output.starts(with: Array("xmlsec1 ".utf8)) else { throw trouble("it does not run") }
    }

    /// One `PreSigned` and one `PreDigest`. Marks inside the message make the parts wrong, and then their digests.
    private static func signed(_ output: [UInt8]) -> Signed? {
        guard let element = part("PreDigest", of: output), let info = part("PreSigned", of: output) else { return nil }
        return Signed(info: info, element: element)
    }

    private static func part(_ name: String, of output: [UInt8]) -> [UInt8]? {
        let start = Array("== \(name) data - start buffer:\n".utf8)
        // The last part has no line end behind it.
        let end = Array("\n== \(name) data - end buffer".utf8)
        let ranges = (output.ranges(of: start), output.ranges(of: end))
        guard ranges.0.count == 1, ranges.1.count == 1, ranges.0[0].upperBound <= ranges.1[0].lowerBound else {
            return nil
        }
        return Array(output[ranges.0[0].upperBound..<ranges.1[0].lowerBound])
    }

    /// The end of a pipe from which these octets can be read, once; they have to fit into it.
    private func readable(_ octets: [UInt8]) throws(DiagnosedError) -> Int32 {
        var ends: [Int32] = [-1, -1]
        guard octets.count <= 32_768, unsafe pipe(&ends) == 0 else { throw trouble("there is no pipe for the key") }
        defer { close(ends[1]) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        guard unsafe octets.withUnsafeBytes({ unsafe write(ends[1], $0.baseAddress, $0.count) }) == octets.count else {
            close(ends[0])
            throw trouble("there is no pipe for the key")
        }
        return ends[0]
    }

    private func trouble(_ found: String) -> DiagnosedError {
        DiagnosedError(
            .samlProgram, fault: .configuration, "\(path) can not be used", found: found,
            hint: "install the Debian package xmlsec1")
    }
}
