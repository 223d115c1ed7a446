import TestServers
import CoreLink
import LinkProtocol
import Testing
import WireText

@testable import CloudCore

@Suite("Strings for the KMS over HTTP")
struct KMSMessageTests {
    private static let path = "/encryption/api/v1/kms/messages"

    @Test("answers go to the device that asked, one per event, in order, and to no other device")
    func oneDevice() async throws {
        try await CoreBench.run { bench in
            let laptop = try await bench.signIn(.alice)
            let phone = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            let kms = try await bench.kms()
            let sockets = [
                try await bench.events(of: laptop), try await bench.events(of: phone), try await bench.events(of: bob),
            ]
            let sent = try await bench.send(
                "POST", Self.path, token: laptop.token, device: laptop.device,
                json: #"{"destination":"x","kmsMessages":["1","2","3","4","5"]}"#)
            #expect(sent.status == 202)
            for number in 1...5 { #expect(try await sockets[0].nextMessages() == ["answer to \(number)"]) }
            // The others have nothing before the pong to a ping that came after.
            for socket in sockets {
                try await socket.send(#"{"id":"p","type":"ping"}"#)
                #expect(try await socket.next()["type"]?.string == "pong")
                await socket.close()
            }
            await kms.stop()
        }
    }

    @Test("a bare string and any destination are taken")
    func bareString() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let kms = try await bench.kms()
            let events = try await bench.events(of: alice)
            for body in [
                #"{"destination":"unused","kmsMessages":"q"}"#, #"{"kmsMessages":["q"]}"#,
                #"{"destination":"kms://kms.other.example.com","kmsMessages":["q"],"later":[{}]}"#,
            ] {
                let sent = try await bench.send("POST", Self.path, token: alice.token, device: alice.device, json: body)
                #expect(sent.status == 202)
                #expect(try await events.nextMessages() == ["answer to q"])
            }
            #expect(kms.taken == ["q", "q", "q"])
            await events.close()
            await kms.stop()
        }
    }

    @Test("strings are accepted without a KMS and delivered when one links")
    func held() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let events = try await bench.events(of: alice)
            let sent = try await bench.send(
                "POST", Self.path, token: alice.token, device: alice.device, json: #"{"kmsMessages":["early"]}"#)
            #expect(sent.status == 202)
            let kms = try await bench.kms()
            #expect(try await events.nextMessages() == ["answer to early"])
            await events.close()
            await kms.stop()
        }
    }

    @Test("organisations do not meet: each one's strings go to its own KMS")
    func organisations() async throws {
        try await CoreBench.run { bench in
            let eve = try await bench.signIn(.eve, at: bench.foreign)
            let alice = try await bench.signIn(.alice)
            let kms = try await bench.kms()
            let foreign = TestKMSLink(
                bench.linkConfiguration(
                    organisation: "other", destination: CoreBench.foreignCluster,
                    token: { [foreign = bench.foreign] in try foreign.serviceToken() })
            ) { "foreign \($0)" }
            try await foreign.wait { $0.phase == .open }
            let (hers, his) = (try await bench.events(of: alice), try await bench.events(of: eve))
            for user in [alice, eve] {
                _ = try await bench.send(
                    "POST", Self.path, token: user.token, device: user.device,
                    json: #"{"destination":"\#(RelayBench.destination)","kmsMessages":["q"]}"#)
            }
            #expect(try await hers.nextMessages() == ["answer to q"])
            #expect(try await his.nextMessages() == ["foreign q"])
            await hers.close()
            await his.close()
            await kms.stop()
            await foreign.stop()
        }
    }

    @Test("malformed bodies and devices get a clear 4xx and nothing is relayed")
    func malformed() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let bob = try await bench.signIn(.bob)
            func send(_ json: String, device: String? = nil) async throws -> CoreBench.Answer {
                try await bench.send("POST", Self.path, token: alice.token, device: device ?? alice.device, json: json)
            }
            let good = #"{"kmsMessages":["q"]}"#
            let tooLong = String(repeating: "x", count: LinkFrame.maximumStringBytes + 1)
            let cases: [(String, Int)] = [
                ("", 400), ("no JSON", 400), ("[]", 400), ("{}", 400), (#"{"kmsMessages":[]}"#, 400),
                (#"{"kmsMessages":[""]}"#, 400), (#"{"kmsMessages":[7]}"#, 400), (#"{"kmsMessages":{"a":1}}"#, 400),
                (#"{"kmsMessages":null}"#, 400), (#"{"kmsMessages":["a"],"kmsMessages":["b"]}"#, 400),
                (#"{"kmsMessages":["\#(tooLong)"]}"#, 400), (#"{"kmsMessages":"\#(tooLong)"}"#, 400),
                (#"{"kmsMessages":[\#(Array(repeating: "\"q\"", count: 201).joined(separator: ","))]}"#, 400),
                (String(repeating: "[", count: 100_000), 400),
                (#"{"kmsMessages":["q"],"x":\#(String(repeating: "[", count: 50_000))}"#, 400),
                (#"{"kmsMessages":["\#(String(repeating: "x", count: 10_000_000))"]}"#, 413),
            ]
            for (body, status) in cases {
                let answer = try await send(body)
                #expect(answer.status == status, "\(body.prefix(60))")
                #expect(answer.json["message"]?.string?.isEmpty == false, "\(body.prefix(60))")
                #expect(answer.json["errors"]?.elements?.first?["description"]?.string != nil)
                #expect(answer.json["trackingId"]?.string?.isEmpty == false)
            }
            let withoutDevice = try await bench.send("POST", Self.path, token: alice.token, json: good)
            #expect(withoutDevice.status == 400)
            #expect(try await send(good, device: bob.device).status == 404)
            #expect(try await send(good, device: "https://elsewhere.example/devices/1").status == 400)
            #expect(try await send(good, device: alice.device + "/../x").status == 400)
            #expect(try await send(good, device: alice.device.dropLast(12) + "000000000000").status == 404)
            #expect(bench.core?.services.relay.pendingCount == 0)
        }
    }

    @Test("a device with too many open strings gets 429 with Retry-After")
    func tooMany() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let batch = #"{"kmsMessages":[\#(Array(repeating: "\"q\"", count: 200).joined(separator: ","))]}"#
            for _ in 0..<5 {
                let sent = try await bench.send(
                    "POST", Self.path, token: alice.token, device: alice.device, json: batch)
                #expect(sent.status == 202)
            }
            let refused = try await bench.send(
                "POST", Self.path, token: alice.token, device: alice.device, json: #"{"kmsMessages":"q"}"#)
            #expect(refused.status == 429 && refused.header("retry-after") == "5")
        }
    }

    @Test("the details document is that of the own organisation, 503 until a KMS has linked, the newest after that")
    func details() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let eve = try await bench.signIn(.eve, at: bench.foreign)
            for path in ["/encryption/api/v1/kms", "/encryption/api/v1/kms/\(alice.id)"] {
                let early = try await bench.send("GET", path, token: alice.token)
                #expect(early.status == 503 && early.header("retry-after") != nil)
            }
            let kms = try await bench.kms()
            for path in ["/encryption/api/v1/kms", "/encryption/api/v1/kms/\(alice.id)"] {
                let answer = try await bench.send("GET", path, token: alice.token)
                #expect(answer.status == 200)
                #expect(answer.json["kmsCluster"]?.string == RelayBench.destination)
                #expect(answer.json["rsaPublicKey"]?.kind == .string)
            }
            #expect(try await bench.send("GET", "/encryption/api/v1/kms", token: eve.token).status == 503)
            await kms.stop()
            #expect(try await bench.send("GET", "/encryption/api/v1/kms", token: alice.token).status == 200)
            let other = try await bench.kms(node: "n2")
            let newest = try await bench.send("GET", "/encryption/api/v1/kms", token: alice.token)
            #expect(newest.json["node"]?.string == "n2")
            await other.stop()
        }
    }

    @Test("strings in flight when the core's link ends are delivered again to the next link, byte for byte")
    func linkLoss() async throws {
        try await CoreBench.run { bench in
            let alice = try await bench.signIn(.alice)
            let events = try await bench.events(of: alice)
            let silent = try await bench.kms(node: "n1") { _ in nil }
            _ = try await bench.send(
                "POST", Self.path, token: alice.token, device: alice.device, json: #"{"kmsMessages":["one","two"]}"#)
            await silent.waitUntilTaken(2)
            await silent.cancel()
            let kms = try await bench.kms(node: "n1")
            #expect(try await events.nextMessages() == ["answer to one"])
            #expect(try await events.nextMessages() == ["answer to two"])
            #expect(kms.taken == ["one", "two"])
            await events.close()
            await kms.stop()
        }
    }
}
