import Cryptography
import Diagnostics
import JOSEEncryption
import KMSProtocol
import SecretMemory
import WireText

@testable import KMSClient

/// A person's device: opens a session, asks for this and that, and sends anew what is not answered in time.
///
/// A stamped one wraps as our own client does (`KMSClientSession`): counter and time, one change at a time. The others are as
/// the deployed ones: neither, and several requests under way at once. Both send again after 6, 12, 24 and 48 s with a new
/// request id (protocol, section 5).
final class Client: @unchecked Sendable {  // only the thread of the run uses it
    private static let patience: [Int64] = [6, 12, 24, 48]

    let name: String
    let user: String
    let isStamped: Bool
    private let world: World
    private let process: Process
    private let clock: VirtualClock
    private let credential: KMSCredential
    private var session: KMSClientSession?
    private var isOpening = false
    private var calls: [String: Call] = [:]
    private var begun = 0
    private var openings: [String: (opening: SessionOpening, call: Call)] = [:]
    /// By request id: which string it is.
    private var digests: [String: [UInt8]] = [:]
    private var lastPost: Int64 = 0
    private var unbound: [String] = []
    private var spaces: [String] = []

    enum Reply {
        case answer(KMSAnswer)
        case sessionLost
    }

    /// What somebody waits for.
    private final class Call: @unchecked Sendable {  // only the thread of the run uses it
        let number: Int
        private var reply: Reply?
        private var waiting: CheckedContinuation<Reply?, Never>?
        private var over: () -> Void = {}

        init(_ number: Int) { self.number = number }

        func fulfil(_ reply: Reply?) {
            if let waiting {
                self.waiting = nil
                waiting.resume(returning: reply)
            } else if self.reply == nil {
                self.reply = reply
            }
        }

        func value(within seconds: Int64, _ process: Process) async -> Reply? {
            if let reply {
                self.reply = nil
                return reply
            }
            return await withCheckedContinuation { continuation in
                waiting = continuation
                var isOver = false
                process.after(.seconds(seconds)) { [self] in
                    guard !isOver else { return }
                    isOver = true
                    if waiting != nil { fulfil(nil) }
                }
                over = { isOver = true }
            }
        }

        func end() { over() }
    }

    init(_ name: String, user: String, isStamped: Bool, _ world: World) {
        (self.name, self.user, self.isStamped, self.world) = (name, user, isStamped, world)
        process = Process(name, world.scheduler)
        clock = VirtualClock(scheduler: world.scheduler)
        credential = KMSCredential(
            clientID: "https://wdm.example/devices/\(name)", userID: user, bearer: Redacted("tok-\(user)"))
    }

    func end() { process.die() }

    /// Works until the world is quiet, then proves that it is served.
    func start(_ ended: @escaping @Sendable () -> Void) {
        Task(executorPreference: process) { [self] in
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await self.work(mayChange: true) }
                group.addTask { await self.work(mayChange: !self.isStamped) }
            }
            while world.scheduler.now < world.settled { await pause(200...400) }
            _ = await ask(.ping)
            if let key = world.readable.last { _ = await ask(.read(key: key)) }
            ended()
        }
    }

    private func pause(_ milliseconds: ClosedRange<Int64>) async {
        try? await clock.sleep(for: .milliseconds(world.scheduler.draw(milliseconds)))
    }

    private func work(mayChange: Bool) async {
        while world.scheduler.now < world.quiet {
            await pause(60...900)
            await step(mayChange)
        }
    }

    private func step(_ mayChange: Bool) async {
        let random = world.scheduler
        guard mayChange, random.happens(60) else {
            guard !world.readable.isEmpty, random.happens(85) else {
                _ = await ask(.ping)
                return
            }
            _ = await ask(.read(key: world.readable[Int(random.draw(0...Int64(world.readable.count - 1)))]))
            return
        }
        if let key = unbound.popLast(), spaces.count < 3 {
            let members = world.users.filter { $0 != user && random.happens(50) }
            guard let answer = await ask(.createSpace(key: key, members: members)),
                case .resource(let resource) = answer.body
            else { return }
            spaces.append(resource.uri)
            world.readable.append(key)
        } else if !spaces.isEmpty, random.happens(65) {
            let space = spaces[Int(random.draw(0...Int64(spaces.count - 1)))]
            let others = world.users.filter { $0 != user }
            let other = others[Int(random.draw(0...Int64(others.count - 1)))]
            _ = await ask(random.happens(50) ? .add(user: other, space: space) : .remove(user: other, space: space))
        } else if let answer = await ask(.createKey), case .keys(let keys) = answer.body {
            unbound += keys.map(\.uri)
        }
    }

    // MARK: Asking

    /// The answer whatever its status; nil when none came.
    private func ask(_ purpose: Asked.Purpose) async -> KMSAnswer? {
        begun += 1
        let call = Call(begun)
        var ids: [String] = []
        defer { for id in ids { calls[id] = nil } }
        for patience in Self.patience {
            for _ in 0..<8 {
                guard !process.isDead, let session = await openSession(), let (id, text) = wrap(purpose, session) else {
                    return nil
                }
                ids.append(id)
                calls[id] = call
                let sent = world.scheduler.now
                post(text)
                guard let reply = await call.value(within: patience, process) else {
                    if sent >= world.settled, !process.isDead {
                        world.model.violated("liveness", "\(name) had no answer for \(purpose) within \(patience) s")
                    }
                    break
                }
                call.end()
                guard case .answer(let answer) = reply else { continue }
                if answer.errorCode == KMSFailure.staleCounterCode {
                    session.raiseCounter()
                } else if answer.status == KMSStatus.tooManyRequests {
                    await pause(500...1000)
                } else {
                    return answer
                }
            }
        }
        return nil
    }

    private func wrap(_ purpose: Asked.Purpose, _ session: KMSClientSession) -> (id: String, text: [UInt8])? {
        let operation: KMSOperation =
            switch purpose {
            case .ping: .ping
            case .createKey: .createKeys(count: 1)
            case .createSpace(let key, let members): .createResource(keys: [key], users: members)
            case .read(let key): .retrieveKey(key)
            case .add(let user, let space): .createAuthorizations(resource: space, ids: [user])
            case .remove(let user, let space): .deleteAuthorization(resource: space, id: user)
            }
        let (id, text): (String, [UInt8])
        if isStamped {
            guard let request = try? session.wrap(operation, as: credential, at: world.wall) else { return nil }
            (id, text) = (request.id, Array(request.text.utf8))
        } else {
            id = UUIDText.random()
            let json = RequestEnvelope.json(
                requestID: id, method: operation.method, uri: operation.uri, credential: credential, stamp: nil
            ) { operation.write(to: &$0) }
            guard
                let wrapped = try? json.withUnsafeBytes({
                    try JWE.encryptDirect($0, key: session.key, kid: session.uri)
                })
            else { return nil }
            text = wrapped
        }
        digests[id] = SHA256.hash(text)
        _ = world.model.sent(text, purpose, by: name, user) { answer in
            (try? session.open(String(decoding: answer, as: UTF8.self)))?.status
        }
        return (id, text)
    }

    /// Hands a string to the core; now and then twice, for the core's 202 was lost.
    private func post(_ text: [UInt8]) {
        let scheduler = world.scheduler
        let arrival = max(
            lastPost + 1, scheduler.now + scheduler.draw(200...Int64.milliseconds(world.network.slowness)))
        lastPost = arrival
        for copy in 0..<(scheduler.happens(8) ? 2 : 1) {
            let delay =
                arrival - scheduler.now + (copy == 0 ? 0 : scheduler.draw(.milliseconds(5)...(.milliseconds(2000))))
            scheduler.after(delay) { [self] in
                guard world.core.isUp, !world.isCutOff(name) else { return }
                _ = world.core.submit([text], from: name)
            }
        }
    }

    // MARK: The session

    private func openSession() async -> KMSClientSession? {
        while isOpening { await pause(50...80) }
        if let session { return session }
        isOpening = true
        defer { isOpening = false }
        while !process.isDead {
            let sent = world.scheduler.now
            guard let opening = try? SessionOpening(to: world.identity.verified, as: credential, at: world.wall) else {
                return nil
            }
            let call = Call(0)
            openings[opening.requestID] = (opening, call)
            world.trace.note("\(name) opens a session")
            post(Array(opening.text.utf8))
            let reply = await call.value(within: 6, process)
            call.end()
            openings[opening.requestID] = nil
            if reply == nil, sent >= world.settled, !process.isDead {
                world.model.violated("liveness", "\(name) could not open a session within 6 s")
            }
            guard case .answer(let answer)? = reply, let session = try? opening.finish(answer, at: world.wall) else {
                continue
            }
            self.session = session
            return session
        }
        return nil
    }

    // MARK: What the event socket brings

    /// On its way from the core.
    func arrive(_ text: [UInt8]) {
        let isLost = world.isCutOff(name)
        process.after(world.scheduler.draw(200...Int64.milliseconds(world.network.slowness))) { [self] in
            if !isLost { received(String(decoding: text, as: UTF8.self)) }
        }
    }

    private func received(_ text: String) {
        if SignedMessage.hasForm(text) {
            switch try? SignedMessage(text, signedBy: world.identity.verified) {
            case .answer(let answer)?:
                if let id = answer.requestID { openings[id]?.call.fulfil(.answer(answer)) }
            case .reset(let reset)?:
                guard let session, (try? session.accept(reset, at: world.wall)) != nil else { return }
                world.trace.note("\(name) loses its session")
                self.session = nil
                for call in calls.values.sorted(by: { $0.number < $1.number }) { call.fulfil(.sessionLost) }
            case nil: world.model.violated("answer", "\(name) received a signed message that is none")
            }
            return
        }
        guard let session, let answer = try? session.open(text), let id = answer.requestID, let digest = digests[id]
        else { return }
        world.model.acknowledged(digest, status: answer.status)
        calls[id]?.fulfil(.answer(answer))
    }
}
