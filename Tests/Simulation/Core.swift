import CoreLink
import Cryptography
import Diagnostics
import LinkProtocol
import NIOCore
import WebSocketChannel
import WireText

@testable import CloudCore

/// The core of the world: the real relay with its hub, on simulated sockets. What it keeps over a restart is the epoch.
final class Core: @unchecked Sendable {  // only the thread of the run uses it
    static let limits: Relay.Limits = {
        var limits = Relay.Limits()
        limits.maximumStringsPerDestination = 60
        limits.maximumStringsPerSource = 24
        limits.linkCredit = 6
        return limits
    }()

    private struct Standing {
        var node: String
        var epoch: Int64
        var delivered: [UInt64: [UInt8]] = [:]
        var granted = 0
        var sent = 0
    }

    private let world: World
    private(set) var process: Process
    private var hub: RelayHub
    private var runs: UInt64 = 0
    /// On the core's disk.
    private var stored: Int64 = 0
    private var standing: [Relay.LinkID: Standing] = [:]
    /// Whose answer is under way.
    private var present: (digest: [UInt8], id: UInt64, epoch: Int64, node: String)?
    var isUp: Bool { !process.isDead }

    init(_ world: World) {
        self.world = world
        process = Process("core", world.scheduler)
        hub = RelayHub(relay: Relay(), clock: { 0 }, wall: { Timestamp(milliseconds: 0) }, answered: { _, _ in })
        start()
    }

    func start() {
        runs += 1
        process = Process("core", world.scheduler)
        standing = [:]
        hub = RelayHub(
            relay: Relay(limits: Self.limits, firstID: runs << 32),
            clock: { [scheduler = world.scheduler] in scheduler.now / 1000 },
            wall: { [world] in world.wall },
            answered: { [weak self] device, text in self?.answered(device, text) })
        if stored > 0 { hub.setEpoch(stored, of: World.cluster) }
        tick(process)
    }

    func die() {
        process.die()
        world.network.lose(process)
    }

    private func tick(_ run: Process) {
        run.after(.milliseconds(250)) { [self] in
            hub.tick()
            world.model.bounded("strings at the core", hub.pendingCount, Self.limits.maximumStringsPerDestination)
            tick(run)
        }
    }

    // MARK: Clients

    /// True: taken.
    func submit(_ texts: [[UInt8]], from device: String) -> Bool {
        do throws(Relay.Refusal) {
            try hub.submit(texts, to: World.cluster, from: device)
            return true
        } catch {
            world.model.count("refused by the core")
            return false
        }
    }

    private func answered(_ device: String, _ text: [UInt8]) {
        if let present { world.model.passed(present.digest, id: present.id, epoch: present.epoch, from: present.node) }
        world.client(device)?.arrive(text)
    }

    // MARK: Links

    /// A WebSocket of a node stands, and its token was good.
    func accept(_ end: SocketEnd, from node: String) {
        let (hub, run) = (hub, process)
        let link = hub.connect(end, grant: Relay.Grant(organisation: "org", destination: World.cluster))
        standing[link] = Standing(node: node, epoch: 0)
        end.setHeartbeat(WebSocketHeartbeat(interval: .seconds(1), deadline: .seconds(3)))
        end.leaving = { [weak self] frame in self?.sends(frame, link) }
        end.closed = { if !run.isDead { hub.disconnect(link) } }
        end.receive { [weak self] message in
            guard let self, !run.isDead, case .binary(let bytes) = message else { return }
            receives(bytes, link)
            for report in hub.received(bytes, from: link) { take(report, link, run) }
            present = nil
        }
    }

    private func take(_ report: RelayHub.Report, _ link: Relay.LinkID, _ run: Process) {
        if case .raised(let destination, let epoch) = report {
            run.after(world.scheduler.draw(500 ... .milliseconds(20))) { [self] in
                stored = max(stored, epoch)
                for report in hub.epochStored(epoch, of: destination, by: link) { take(report, link, run) }
            }
        }
        if case .closed(let code, let error) = report {
            world.trace.note("the core closes a link: \(code) \(error?.summary ?? "")")
        }
    }

    private func sends(_ frame: LinkFrame, _ link: Relay.LinkID) {
        switch frame {
        case .welcome:
            world.trace.note("the core welcomes \(standing[link]?.node ?? "?") in epoch \(standing[link]?.epoch ?? 0)")
            world.model.accepted(epoch: standing[link]?.epoch ?? 0)
        case .deliver(let id, _, let text):
            let digest = SHA256.hash(text)
            standing[link]?.delivered[id] = digest
            standing[link]?.sent += 1
            if let standing = standing[link] {
                world.model.bounded("deliveries on a link", standing.sent, standing.granted)
            }
            world.digests[id] = digest
            world.model.delivered(digest, id: id)
            world.trace.note("the core delivers \(world.model.name(digest)) to \(standing[link]?.node ?? "?")")
        default: break
        }
    }

    private func receives(_ bytes: [UInt8], _ link: Relay.LinkID) {
        guard let frame = try? LinkFrame(decoding: bytes), let known = standing[link] else { return }
        switch frame {
        // What it says, or should have said.
        case .hello(let hello): standing[link]?.epoch = max(hello.epoch, world.epoch(of: known.node))
        case .credit(let more): standing[link]?.granted += Int(more)
        case .answer(let id, _):
            if let digest = known.delivered[id] { present = (digest, id, known.epoch, known.node) }
        case .decline(let id, let reason):
            world.model.count("declined")
            world.trace.note("\(known.node) declines \(known.delivered[id].map(world.model.name) ?? "?"): \(reason)")
        default: break
        }
    }
}
