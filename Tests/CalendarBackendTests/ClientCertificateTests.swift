import CalDAVClient
import CalendarBackend
import Cryptography
import Foundation
import Glibc
import TLSChannel
import TestServers
import Testing

/// Certificates that the client shows to a calendar server.
@Suite("Client certificates to calendar servers")
struct ClientCertificateTests {
    /// A CalDAV server in Python that takes whoever shows a certificate that it knows, and nobody else.
    private static let demanding = #"""
        import http.server, ssl, sys
        certificate, key, authority = sys.argv[1:4]
        BODY = ('<D:multistatus xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:response><D:href>/</D:href><D:propstat>'
                '<D:prop><D:current-user-principal><D:href>/p/</D:href></D:current-user-principal><C:calendar-home-set>'
                '<D:href>/h/</D:href></C:calendar-home-set></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>'
                '</D:response></D:multistatus>').encode()
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def log_message(self, *words): pass
            def do_PROPFIND(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                ok = self.connection.getpeercert() and not self.headers.get("Authorization")
                self.send_response(207 if ok else 403)
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(BODY)))
                self.end_headers()
                self.wfile.write(BODY)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True)
        print(server.server_address[1], flush=True)
        server.serve_forever()
        """#

    @discardableResult
    private static func start(_ words: [String], _ output: Pipe = Pipe()) throws -> Process {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = words
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        return process
    }

    @Test("To a server that asks for a certificate the client shows its own, and without one it is not let in")
    func shown() async throws {
        let folder = TemporaryFolder()
        try TestPKI.make(in: folder.path + "/pki")
        func file(_ name: String) -> String { folder.path + "/" + name }
        func text(_ name: String) throws -> String {
            String(decoding: try Data(contentsOf: URL(filePath: file(name))), as: UTF8.self)
        }
        try Self.start([
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=hds-calendar", "-keyout", file("client.key"), "-out", file("client.pem"),
        ]).waitUntilExit()
        try Data(Self.demanding.utf8).write(to: URL(filePath: file("server.py")))
        let output = Pipe()
        let server = try Self.start(
            [
                "python3", file("server.py"), file("pki/core/core.pem"), file("pki/core/core.key"), file("client.pem"),
            ], output)
        // What it inherits may ignore the gentler signals.
        defer {
            kill(server.processIdentifier, SIGKILL)
            server.waitUntilExit()
        }
        let line = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
        let port = try #require(Int(line.filter(\.isNumber)))
        let identity = TLSServerIdentity(
            certificateChain: try Certificate.all(inPEM: text("client.pem")),
            privateKey: try PrivateKey(pem: text("client.key")))
        let roots = try Certificate.all(inPEM: text("pki/core/root.pem"))
        let url = "https://localhost:\(port)/"
        let known = try CalDAVGround.client(url, trust: TLSTrust(roots: roots, identity: identity)) {
            $0.credentials = { _, _ in nil }
        }
        #expect(try await known.discover(BackendGround.alice).principal == CalendarHref("/p/"))
        await known.close()
        let stranger = try CalDAVGround.client(url, trust: TLSTrust(roots: roots)) { $0.credentials = { _, _ in nil } }
        await #expect(throws: CalendarError.self) { try await stranger.discover(BackendGround.alice) }
        await stranger.close()
    }
}
