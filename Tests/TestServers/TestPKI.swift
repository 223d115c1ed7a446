package import Cryptography
import Glibc
package import TLSChannel

/// The throw-away PKI of deploy/lib/pki.sh, made once for a run of the tests.
package struct TestPKI: Sendable {
    /// What hds-core shows.
    package let core: TLSServerIdentity
    package let coreRoot: Certificate
    /// What the customer's authorization service shows.
    package let auth: TLSServerIdentity
    package let customerRoot: Certificate

    package static let shared = Result { try TestPKI() }

    private init() throws {
        let folder = TemporaryFolder()
        try Self.run(["/bin/bash", Self.repository + "/deploy/lib/pki.sh", folder.path + "/pki"])
        func text(_ name: String) throws -> String { try Self.contents(of: folder.path + "/pki/" + name) }
        func identity(_ name: String) throws -> TLSServerIdentity {
            TLSServerIdentity(
                certificateChain: try Certificate.all(inPEM: text(name + ".pem")),
                privateKey: try PrivateKey(pem: text(name + ".key")))
        }
        core = try identity("core/core")
        auth = try identity("customer/auth")
        coreRoot = try Certificate.all(inPEM: text("core/root.pem"))[0]
        customerRoot = try Certificate.all(inPEM: text("customer/root.pem"))[0]
    }

    private static var repository: String {
        String(#filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/"))
    }

    private static func contents(of path: String) throws -> String {
        let descriptor = open(path, O_RDONLY)
        guard descriptor >= 0 else { throw Failure(what: "open \(path)") }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        let count = read(descriptor, &bytes, bytes.count)
        guard count > 0 else { throw Failure(what: "read \(path)") }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// The same, as files for somebody else's program.
    package static func make(in folder: String) throws {
        try run(["/bin/bash", repository + "/deploy/lib/pki.sh", folder])
    }

    private static func run(_ words: [String]) throws {
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var child: pid_t = 0
        var status: Int32 = 0
        guard posix_spawn(&child, words[0], nil, nil, &arguments, environ) == 0, waitpid(child, &status, 0) == child,
            status == 0
        else { throw Failure(what: words.joined(separator: " ")) }
    }

    package struct Failure: Error {
        package let what: String
        package init(what: String) { self.what = what }
    }
}
