import Diagnostics
import HTTPClient
import TLSChannel
import Testing
import WireText

@testable import HDSClient

/// What a user is told when the core says no.
@Suite("Refusals of the core", .timeLimit(.minutes(2)))
struct CoreRefusalTests {
    private static let list = "GET /conversations "

    private static func run(_ body: (SocketWorld, Client) async throws -> Void) async throws {
        try await SocketWorld.run { world in
            try await world.withClient(world.loggedIn()) { try await body(world, $0) }
        }
    }

    @Test("Each refusal has its code, the core's words and what to do")
    func refusals() async throws {
        try await Self.run { world, client in
            let body = #"{"message":"the words","errors":[],"trackingId":"hds_77"}"#
            let cases: [(status: Int, code: DiagnosedError.Code, hint: String)] = [
                (400, .cloudRefused, "newer version"), (403, .cloudForbidden, "administrator"),
                (404, .cloudNotFound, "hds spaces"), (409, .cloudConflict, "again"), (413, .cloudRefused, "version"),
                (429, .cloudUnavailable, "try again"), (500, .cloudRefused, "hds_77"),
                (502, .cloudUnavailable, "try again"), (503, .cloudUnavailable, "try again"),
                (504, .cloudUnavailable, "try again"), (302, .cloudRefused, "version"),
            ]
            for (status, code, hint) in cases {
                world.core.expect(Self.list, .status(status, body, headers: ["Location: https://evil.example.com/"]))
                let error = await diagnosis { _ = try await client.spaces.all() }
                #expect(error?.code == code, "\(status)")
                #expect(error?.found == "status \(status): the words", "\(status)")
                #expect(error?.hint?.contains(hint) == true, "\(status): \(error?.hint ?? "no hint")")
                #expect(world.core.isDone, "\(status)")
            }
            let spaces = try await client.spaces.all()
            #expect(spaces.isEmpty)
        }
    }

    @Test("What passes by itself is told so: nobody there, gone within the handshake, no answer in time")
    func passing() {
        for code in [
            .httpConnectFailed, .httpConnectionLost, .httpTimeout, .tlsHandshakeCut, .tlsHandshakeTimeout,
        ] as [DiagnosedError.Code] {
            let told = CloudError.passing(DiagnosedError(code, fault: .peer, "why"), server: "the core")
            #expect(
                told.code == .cloudUnavailable && told.summary.contains("why")
                    && told.hint?.contains("try again") == true)
        }
        for code in [.tlsPinMismatch, .tlsUntrusted, .tlsHandshakeFailed] as [DiagnosedError.Code] {
            #expect(CloudError.passing(DiagnosedError(code, fault: .peer, "why"), server: "the core").code == code)
        }
    }

    @Test("A core that says how long to wait is quoted")
    func retryAfter() async throws {
        try await Self.run { world, client in
            for (status, text, expected) in [
                (429, "7", "try again in 7 seconds"), (503, "30", "try again in 30 seconds"),
                (503, "Fri, 31 Dec 1999 23:59:59 GMT", "try again in a moment"), (429, "-1", "try again in a moment"),
            ] {
                world.core.expect(Self.list, .status(status, headers: ["Retry-After: \(text)"]))
                #expect(await diagnosis { _ = try await client.spaces.all() }?.hint == expected)
            }
        }
    }

    @Test("Answers that are none are refused, and what they say is cut and cleaned")
    func malformed() async throws {
        try await Self.run { world, client in
            for body in ["", "[]", "null", "{", "<html>", String(repeating: "[", count: 100)] {
                world.core.expect(Self.list, .status(200, body))
                #expect(await code { _ = try await client.spaces.all() } == .cloudAnswer, "\(body.prefix(10))")
            }
            let words = "a\\u001b[2J" + String(repeating: "b", count: 500)
            world.core.expect(Self.list, .status(403, "{\"message\":\"\(words)\"}"))
            let error = await diagnosis { _ = try await client.spaces.all() }
            #expect(error?.found?.utf8.allSatisfy { $0 != 0x1B } == true)
            #expect((error?.found?.utf8.count ?? 0) < 200)
        }
    }

    @Test("What changes something is sent once when the core failed over it, and again only when it was too busy")
    func sentOnce() async throws {
        try await Self.run { world, client in
            let space = try await client.spaces.create(name: "X", with: [])
            let path = "POST /conversations/\(space.id)/activities "
            for status in [400, 403, 409, 500] {
                let before = world.core.count(path)
                world.core.expect(path, .status(status))
                #expect(await diagnosis { try await client.spaces.post("no", in: space) }?.hint != nil)
                #expect(world.core.count(path) == before + 1, "\(status)")
            }
            world.core.expect(path, .status(429), .status(503), .status(504))
            let place = try await world.retrying { try await client.spaces.post("yes", in: space) }
            #expect(place == 1 && world.core.isDone)
        }
    }

    @Test("A login at a core that refuses the device says why, and can be repeated")
    func refusedDevice() async throws {
        try await SocketWorld.run { world in
            for (status, expected) in [
                (429, DiagnosedError.Code.cloudUnavailable), (500, .cloudRefused), (401, .notLoggedIn),
            ] {
                world.core.expect("POST /devices ", .status(status), .status(status))
                let error = await diagnosis { _ = try await world.loggedIn() }
                #expect(error?.code == expected && error?.hint != nil, "\(status)")
                world.core.expectNothing()
            }
            let store = try await world.loggedIn()
            #expect(try store.current().devices.count == 1)
        }
    }
}
