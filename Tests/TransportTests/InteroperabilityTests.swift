import Diagnostics
import Glibc
import HTTPClient
import HTTPServer
import TLSChannel
import TestServers
import Testing
import WebSocketChannel

/// Against implementations that are not this project's; each needs its program on the machine.
@Suite("Interoperability")
struct InteroperabilityTests {
    private static func has(_ program: String) -> Bool { system("command -v \(program) > /dev/null 2>&1") == 0 }
    static let hasCurl = has("curl")
    static let hasOpenSSL = has("openssl")
    static let hasPython = has("python3")

    /// Runs a shell command off the cooperative threads and returns what it prints.
    private func shell(_ command: String, in folder: TemporaryFolder) async throws -> String {
        try await onOwnThread {
            let status = system("{ \(command) ; } > \(folder.path("out")) 2> \(folder.path("err"))")
            let output = String(decoding: try folder.read("out"), as: UTF8.self)
            let errors = String(decoding: try folder.read("err"), as: UTF8.self)
            if status != 0 { Issue.record("\(command) ended with \(status): \(output) \(errors)") }
            return output
        }
    }

    private func folderWithRoot() throws -> TemporaryFolder {
        let folder = TemporaryFolder()
        try folder.write(Array(TestPKI.shared.get().text("root.pem").utf8), to: "root.pem")
        return folder
    }

    private static let routes = [
        WebSocketRoute("/refused") { _ in .refuse(401, message: "no token") },
        WebSocketRoute("/socket") { _ in
            .accept { socket in
                for try await message in socket.incoming {
                    if case .text(let text) = message { try await socket.send(text: text) }
                }
            }
        },
    ]

    @Test("curl gets, posts and is refused, with TLS 1.3 and 1.2", .enabled(if: hasCurl))
    func curl() async throws {
        let folder = try folderWithRoot()
        try folder.write([UInt8](repeating: 65, count: 3 << 20), to: "body")
        try await WebServerFixture.run(webSockets: Self.routes, adjust: { $0.largeBodies = ["/count": 4 << 20] }) {
            fixture in
            let curl = "curl -sS --max-time 20 --cacert \(folder.path("root.pem"))"
            for options in [
                "", "--tls-max 1.2", "--http1.0", "--http2", "--ciphers ECDHE-ECDSA-AES128-GCM-SHA256 --tls-max 1.2",
            ] {
                #expect(try await shell("\(curl) \(options) \(fixture.url("/hello"))", in: folder) == "hello")
            }
            // Two requests on one connection, then an upload that is announced by Expect: 100-continue.
            let twice = try await shell("\(curl) \(fixture.url("/hello")) \(fixture.url("/hello"))", in: folder)
            #expect(twice == "hellohello")
            let upload = "\(curl) --data-binary @\(folder.path("body"))"
            #expect(try await shell("\(upload) \(fixture.url("/count"))", in: folder) == String(3 << 20))
            #expect(
                try await shell("\(upload) -H 'Transfer-Encoding: chunked' \(fixture.url("/count"))", in: folder)
                    == String(3 << 20))
            let tooLong = try await shell(
                "\(upload) -o /dev/null -w '%{http_code}' \(fixture.url("/echo"))", in: folder)
            #expect(tooLong == "413")
            let refused = try await shell(
                "\(curl) -w ' %{http_code}' -H 'Connection: Upgrade' -H 'Upgrade: websocket' "
                    + "-H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' "
                    + fixture.url("/refused"), in: folder)
            #expect(refused.hasSuffix(" 401"))
            #expect(refused.contains("no token"))
        }
    }

    @Test("openssl s_client verifies the server and gets an answer", .enabled(if: hasOpenSSL))
    func openssl() async throws {
        let folder = try folderWithRoot()
        try await WebServerFixture.run { fixture in
            for version in ["-tls1_3", "-tls1_2"] {
                let request = "printf 'GET /hello HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n'"
                let output = try await shell(
                    "\(request) | timeout 20 openssl s_client -quiet \(version) -verify_return_error "
                        + "-verify_hostname localhost -CAfile \(folder.path("root.pem")) -connect localhost:\(fixture.port)",
                    in: folder)
                #expect(output.hasPrefix("HTTP/1.1 200 OK") && output.hasSuffix("hello"), "\(version): \(output)")
            }
            for forbidden in [
                "-tls1_1 -cipher ALL:@SECLEVEL=0", "-tls1_2 -cipher AES128-SHA",
                "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA",
            ] {
                let output = try await shell(
                    "timeout 20 openssl s_client \(forbidden) -connect localhost:\(fixture.port) < /dev/null || echo refused",
                    in: folder)
                #expect(output.contains("refused"), "\(forbidden)")
            }
        }
    }

    @Test("Our client reaches openssl s_server", .enabled(if: hasOpenSSL), arguments: ["-tls1_3", "-tls1_2"])
    func opensslServer(version: String) async throws {
        let pki = try TestPKI.shared.get()
        let folder = try folderWithRoot()
        for name in ["server.pem", "server.key", "issuing.pem"] {
            try folder.write(Array(pki.text(name).utf8), to: name)
        }
        let port = try LoopbackPort.take()
        let command =
            "cd \(folder.path("")) && exec timeout 30 openssl s_server \(version) -www -accept 127.0.0.1:\(port) -naccept 2 "
            + "-cert server.pem -key server.key -cert_chain issuing.pem > out 2>&1"
        async let ended = onOwnThread { system(command) }
        let client = WebClient(trust: try pki.trust(pins: ["issuing"], requirePathLengthZero: true))
        var answer: WebResponse?
        // The program needs a moment to listen; a connection before that is refused.
        while answer == nil {
            do {
                answer = try await client.send(WebRequest(url: "https://localhost:\(port)/"))
            } catch let error as DiagnosedError where error.code == .httpConnectFailed {
                continue
            }
        }
        let page = String(decoding: try #require(answer).body, as: UTF8.self)
        #expect(page.contains("s_server"))
        _ = try? await client.send(WebRequest(url: "https://localhost:\(port)/"))
        await client.close()
        _ = try await ended
    }

    @Test("Python's ssl speaks HTTP and WebSocket with the server", .enabled(if: hasPython))
    func python() async throws {
        let folder = try folderWithRoot()
        try folder.write(Array(Self.pythonScript.utf8), to: "client.py")
        try await WebServerFixture.run(webSockets: Self.routes) { fixture in
            let output = try await shell(
                "timeout 30 python3 -u \(folder.path("client.py")) \(fixture.port) \(folder.path("root.pem"))",
                in: folder)
            #expect(output == "hello\ngrüße\nclosed 1000\n")
        }
    }

    private static let pythonScript = """
        import base64, http.client, os, socket, ssl, struct, sys
        port, roots = int(sys.argv[1]), sys.argv[2]
        context = ssl.create_default_context(cafile=roots)
        connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)
        connection.request("GET", "/hello")
        print(connection.getresponse().read().decode())
        connection.close()
        stream = context.wrap_socket(socket.create_connection(("localhost", port), 20), server_hostname="localhost")
        key = base64.b64encode(os.urandom(16)).decode()
        stream.sendall(("GET /socket HTTP/1.1\\r\\nHost: a\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n"
            "Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: " + key + "\\r\\n\\r\\n").encode())
        received = b""
        def take(count):
            global received
            while len(received) < count:
                part = stream.recv(4096)
                if not part: raise SystemExit("ended")
                received += part
            head, received = received[:count], received[count:]
            return head
        while b"\\r\\n\\r\\n" not in received: take(0); received += stream.recv(4096)
        received = received.split(b"\\r\\n\\r\\n", 1)[1]
        def send(first, payload):
            mask = os.urandom(4)
            stream.sendall(bytes([first, 0x80 | len(payload)]) + mask +
                bytes(octet ^ mask[index % 4] for index, octet in enumerate(payload)))
        text = "grüße".encode()
        send(0x01, text[:3]); send(0x80, text[3:])
        head = take(2)
        sys.stdout.buffer.write(take(head[1]) + b"\\n"); sys.stdout.flush()
        send(0x88, struct.pack(">H", 1000))
        head = take(2)
        print("closed", struct.unpack(">H", take(head[1])[:2])[0])
        """
}
