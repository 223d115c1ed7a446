import Diagnostics
import Foundation
import Glibc
import HDSClient
import HTTPClient
import Testing
import WebSocketChannel

extension StoryTests {
    @Suite("The HTTP layer of the programs") struct HTTPLayerTests {
        @Test("A refused upgrade gets its status")
        func refusedUpgrades() async throws {
            let deployment = try await Deployment.shared()
            let alice = try await Person.logIn("alice", in: deployment, device: UUID().uuidString)
            let token = try #require(try alice.store.current().tokens).cloud.reveal { $0 }
            let (core, auth) = (try deployment.coreClient(), try deployment.authClient())
            func refusal(_ client: WebClient, _ url: String, _ headers: [(String, String)] = []) async -> String? {
                do {
                    let socket = try await client.webSocket(
                        url.replacingOccurrences(of: "https://", with: "wss://"), headers: headers)
                    await socket.close()
                    return "no refusal"
                } catch {
                    return (error as? DiagnosedError)?.found.map { String($0.prefix(10)) }
                }
            }
            let coreURL = deployment.domain.coreURL
            #expect(await refusal(core, coreURL + "/link/v1") == "status 401")
            #expect(await refusal(core, coreURL + "/link/v1", [("Authorization", "Bearer nonsense")]) == "status 401")
            #expect(await refusal(core, coreURL + "/link/v1", [("Authorization", "Bearer " + token)]) == "status 403")
            #expect(await refusal(core, coreURL + "/nowhere") == "status 404")
            #expect(await refusal(auth, deployment.domain.authURL + "/nowhere") == "status 404")
            await alice.close()
            await core.close()
            await auth.close()
        }

        @Test("A malformed first request gets 400 from every listener")
        func malformedRequests() async throws {
            let deployment = try await Deployment.shared()
            for (index, text) in ["GARBAGE\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\u{1}\u{2}\u{3}\r\n\r\n"].enumerated() {
                for service in [Service.core, .auth] {
                    let port = deployment.domain["\(service.part)_port"]
                    let output = deployment.domain.path("log/tls-\(service.part)-\(index).txt")
                    let client = try ChildProcess(
                        "openssl", ["s_client", "-quiet", "-connect", "127.0.0.1:\(port)", "-servername", "localhost"],
                        output: output, input: .text(text))
                    _ = try await client.end(within: .seconds(15))
                    #expect(client.log().contains("HTTP/1.1 400"), "\(service) to \(text.debugDescription)")
                }
                for service in Service.allCases {
                    let connection = try RawConnection(port: deployment.domain.healthPort(of: service))
                    connection.send(text)
                    let answer = try await connection.readToEnd()
                    #expect(answer.hasPrefix("HTTP/1.1 400"), "health of \(service): \(answer)")
                }
            }
            for service in Service.allCases { #expect(await deployment.status(of: service, "/livez") == 200) }
        }

        @Test("SIGTERM with connections that never sent a request ends each program at once, with 0")
        func stopWithIdleConnections() async throws {
            try await Deployment.with { deployment in
                let domain = deployment.domain
                var silent: [RawConnection] = []
                var handshaken: [ChildProcess] = []
                for service in Service.allCases {
                    let listener = Int(domain["\(service.part)_port"])
                    for port in [domain.healthPort(of: service), listener].compactMap({ $0 }) {
                        for _ in 0..<3 { silent.append(try RawConnection(port: port)) }
                    }
                    guard let listener else { continue }
                    let client = try ChildProcess(
                        "openssl", ["s_client", "-connect", "127.0.0.1:\(listener)", "-servername", "localhost"],
                        output: domain.path("log/idle-\(service.part).txt"), input: .openPipe)
                    _ = try await eventually("a handshake with \(service)", seen: { client.tail() }) {
                        client.log().contains("Verify return code") ? true : nil
                    }
                    handshaken.append(client)
                }
                for service in Service.allCases.reversed() {
                    let child = try #require(deployment[service])
                    child.send(SIGTERM)
                    // The drain deadline is 20 s.
                    #expect(try await child.end(within: .seconds(8)) == .exit(0), "\(service): \(child.tail())")
                }
                for client in handshaken { try await client.cut() }
                #expect(silent.count == 15)
            }
        }
    }
}
