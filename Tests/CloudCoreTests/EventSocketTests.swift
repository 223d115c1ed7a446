import TestServers
import HTTPClient
import Testing
import WebSocketChannel
import WireText

@testable import CloudCore

/// The dialogue of section 9 of the KMS protocol, frame by frame, over TLS.
@Suite("Event socket")
struct EventSocketTests {
    @Test("authorization, buffer state, event, acknowledgement, ping and pong, in that order and numbered")
    func dialogue() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let kms = try await bench.kms()
            let events = try await bench.openEvents(alice.socket)
            try await events.authorize(alice.token)
            let state = try await events.next()
            #expect(state["data"]?["eventType"]?.string == "mercury.buffer_state")
            #expect(state["sequenceNumber"]?.integer == 1 && state["id"]?.string?.isEmpty == false)
            try await events.acknowledge(state)

            let sent = try await bench.send(
                "POST", "/encryption/api/v1/kms/messages", token: alice.token, device: alice.device,
                json: #"{"destination":"kms://kms.acme.example.com","kmsMessages":["q1"]}"#)
            #expect(sent.status == 202 && sent.text == "{}")
            let event = try await events.next()
            #expect(event["data"]?["eventType"]?.string == "encryption.kms_message")
            #expect(event["data"]?["encryption"]?["kmsMessages"]?.strings == ["answer to q1"])
            #expect(event["sequenceNumber"]?.integer == 2)
            #expect(event["timestamp"]?.integer != nil && event["trackingId"]?.string?.isEmpty == false)
            try await events.acknowledge(event)

            try await events.send(#"{"id":"ping-7","type":"ping"}"#)
            let pong = try await events.next()
            #expect(pong["type"]?.string == "pong" && pong["id"]?.string == "ping-7")
            #expect(pong["sequenceNumber"]?.integer == 3)
            try await events.acknowledge(pong)
            try await events.send(#"{"type":"something new","x":{"y":[1]}}"#)
            try await events.send(#"{"id":"ping-8","type":"ping"}"#)
            #expect(try await events.next()["id"]?.string == "ping-8")
            await events.close()
            await kms.stop()
        }
    }

    @Test("tokens that are not a user's of this device are refused with their close codes")
    func authorization() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let issuer = bench.issuer
            let cases: [(name: String, token: String, code: UInt16)] = [
                ("KMS audience", try issuer.token(.init(subject: alice.id, audience: "kms", email: "a@b.c")), 4401),
                ("expired", try issuer.userToken(.alice, expiresIn: -120), 4401),
                ("nonsense", "nonsense", 4401),
                ("another issuer", try bench.foreign.userToken(.alice), 4403),
                ("another user", bob.token, 4403),
                ("a service", try issuer.serviceToken(), 4403),
            ]
            for (name, token, code) in cases {
                let events = try await bench.openEvents(alice.socket)
                try await events.authorize(token)
                #expect(await events.closeCode() == code, "\(name)")
            }
            let unknown = try await bench.openEvents(alice.socket.dropLast(12) + "000000000000")
            try await unknown.authorize(alice.token)
            #expect(await unknown.closeCode() == 4403)
        }
    }

    @Test("what is no authorization frame at first, or no frame at all, is closed with 4400")
    func malformed() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            for text in [
                #"{"id":"1","type":"ping"}"#, #"{"messageId":"1","type":"ack"}"#, "no JSON", "[]", "{}",
                #"{"type":"authorization","data":{"token":"\#(alice.token)"}}"#, String(repeating: "[", count: 10_000),
            ] {
                let events = try await bench.openEvents(alice.socket)
                try await events.send(text)
                #expect(await events.closeCode() == 4400, "\(text.prefix(50))")
            }
            let binary = try await bench.openEvents(alice.socket)
            try await binary.socket.send(binary: [1, 2, 3])
            #expect(await binary.closeCode() == 4400)
            let huge = try await bench.openEvents(alice.socket)
            try await huge.send(String(repeating: "x", count: 100_000))
            #expect(await huge.closeCode() == 1009)
            let later = try await bench.events(of: alice)
            try await later.send("no JSON")
            #expect(await later.closeCode() == 4400)
        }
    }

    @Test("a path that is no event socket is refused before the upgrade")
    func unknownPath() async throws {
        try await CoreBench.run { bench in
            for path in ["/events/x", "/events/../devices", "/events/"] {
                await #expect(throws: (any Error).self, "\(path)") {
                    _ = try await bench.client.webSocket("wss://localhost:\(bench.port)\(path)")
                }
            }
            let plain = try await bench.send("GET", "/events/31f0a1b2-0000-4000-8000-0123456789ab")
            #expect(plain.status == 426)
        }
    }

    @Test("a newer socket of the device replaces the older with 4000")
    func replaced() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let first = try await bench.events(of: alice)
            let second = try await bench.events(of: alice)
            #expect(await first.closeCode() == 4000)
            try await second.send(#"{"id":"p","type":"ping"}"#)
            #expect(try await second.next()["type"]?.string == "pong")
            await second.close()
        }
    }

    @Test("what was not acknowledged comes again on the next socket, what was does not")
    func redelivery() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let kms = try await bench.kms()
            let first = try await bench.events(of: alice)
            _ = try await bench.send(
                "POST", "/encryption/api/v1/kms/messages", token: alice.token, device: alice.device,
                json: #"{"destination":"unused","kmsMessages":["q1","q2"]}"#)
            let one = try await first.next()
            let two = try await first.next()
            try await first.acknowledge(one)
            // The pong comes after the acknowledgement was taken.
            try await first.send(#"{"id":"p","type":"ping"}"#)
            _ = try await first.next()
            await first.close()

            let second = try await bench.openEvents(alice.socket)
            try await second.authorize(alice.token)
            let state = try await second.next()
            #expect(state["data"]?["bufferState"]?["waiting"]?.integer == 1)
            let again = try await second.next()
            #expect(again["id"]?.string == two["id"]?.string)
            #expect(again["data"]?["encryption"]?["kmsMessages"]?.strings == ["answer to q2"])
            #expect(again["sequenceNumber"]?.integer == 2)
            await second.close()
            await kms.stop()
        }
    }

    @Test("a deleted device loses its socket with 4403 and can not come back")
    func deleted() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let events = try await bench.events(of: alice)
            #expect(try await bench.send("DELETE", alice.device, token: alice.token).status == 204)
            #expect(await events.closeCode() == 4403)
            let again = try await bench.openEvents(alice.socket)
            try await again.authorize(alice.token)
            #expect(await again.closeCode() == 4403)
        }
    }

    @Test("the core going down closes sockets with 1001")
    func shutdown() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let events = try await bench.events(of: alice)
            async let stopped: Void = bench.stopCore()
            #expect(await events.closeCode() == 1001)
            await stopped
        }
    }

    @Test("a socket lives on when it shows a newer token, and ends with 4401 when its token ends")
    func tokenEnds() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let dying = try bench.issuer.userToken(.alice, expiresIn: 600)
            let ending = try await bench.openEvents(alice.socket)
            try await ending.authorize(dying)
            _ = try await ending.next()
            let lasting = try await bench.openEvents(bob.socket)
            try await lasting.authorize(try bench.issuer.userToken(.bob, expiresIn: 600))
            _ = try await lasting.next()
            try await lasting.authorize(bob.token)
            func answersPing() async throws -> Bool {
                try await lasting.send(#"{"id":"p","type":"ping"}"#)
                return try await lasting.next()["type"]?.string == "pong"
            }
            // The pong comes after the newer token was taken.
            #expect(try await answersPing())
            // Past the end of both first tokens and what clocks may differ by.
            bench.advanceWall(661)
            #expect(await ending.closeCode() == 4401)
            #expect(try await answersPing())
            await lasting.close()
        }
    }
}
