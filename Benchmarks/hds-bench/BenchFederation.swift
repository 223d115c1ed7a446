import Cryptography
import Foundation
import KMSProtocol
import KeyManagement
import Synchronization
import WireText

/// A user of one organisation reads a key of another: two KMSs in this process, their strings handed over directly.
struct BenchFederation: Sendable {
    let folder: URL
    let seconds: Double

    private final class Loopback: FederationCarrier {
        let kms = Mutex<[String: BenchKMS]>([:])

        func send(
            _ text: [UInt8], to host: String, within milliseconds: Int64
        ) async throws(FederationCarrierFailure) -> [UInt8] {
            guard let kms = kms.withLock({ $0[host] }),
                case .answer(let answer) = await kms.handler.reply(to: text, source: "federation")
            else { throw .away("no answer") }
            return answer
        }
    }

    func measure() async throws -> [Measurement] {
        let (here, there) = ("kms.here.example.com", "kms.there.example.org")
        let user = UUIDText.random()
        let loopback = Loopback()
        // The pins are of certificates, which are there once both have started: so each starts twice.
        let pins = try await [
            here: BenchKMS(folder: folder, host: here).staticKey.chain[0].spkiSHA256,
            there: BenchKMS(folder: folder, host: there).staticKey.chain[0].spkiSHA256,
        ]
        func start(_ host: String, partner: String) async throws -> BenchKMS {
            let kms = try await BenchKMS(folder: folder, host: host, keepsIdentity: true) { own in
                let partners = [
                    FederationPartner(
                        trust: try FederationTrust(host: partner, roots: [], pins: [pins[partner] ?? []]),
                        organisation: partner, mayAskUs: true, weMayAsk: true, users: [user])
                ]
                return Federation(
                    partners: partners, client: FederationClient(own: StaticKeysInForce([own]), carrier: loopback))
            }
            loopback.kms.withLock { $0[host] = kms }
            return kms
        }
        let asking = try await start(here, partner: there)
        let asked = try await start(there, partner: here)
        let owner = UUIDText.random()
        let holder = try await asked.session(owner, token: try asked.token(owner))
        let (keys, space) = try await asked.createSpace(holder, keys: 20)
        let add = try holder.wrapped("create", "/authorizations") {
            $0.member("resourceUri", space)
            $0.member("userIds", [user])
        }
        _ = try holder.open(await asked.handler.reply(to: add, source: ""))
        let session = try await asking.session(user, token: try asking.token(user))
        var texts: [[UInt8]] = []
        for index in 0..<500 { texts.append(try session.wrapped("retrieve", keys[index % keys.count].uri)) }
        for text in texts.prefix(50) { _ = try session.open(await asking.handler.reply(to: text, source: "")) }
        var samples: [Double] = []
        let cpu = processCPUSeconds()
        let end = ContinuousClock.now + .seconds(seconds / 2)
        while ContinuousClock.now < end {
            for text in texts {
                let start = ContinuousClock.now
                _ = await asking.handler.reply(to: text, source: "")
                samples.append(start.duration(to: .now).inSeconds * 1_000_000)
            }
        }
        let used = (processCPUSeconds() - cpu) / Double(samples.count) * 1_000_000
        return [
            Measurement("key of a partner, both KMSs in process, CPU of both", used, "us"),
            Measurement("key of a partner, both KMSs in process, p50", percentile(samples, 0.5), "us"),
        ]
    }
}
