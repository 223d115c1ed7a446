import KMSClient
import KMSProtocol
import KeyManagement
import Synchronization
import WireText

/// One sequence of steps against the model and the KMS side by side.
final class ModelRun {
    struct Tally {
        var steps = 0
        var operations = 0
        var statuses: [Int: Int] = [:]
        var repeated = 0
        /// How often what is seldom came up, by name.
        var rare: [String: Int] = [:]
    }

    let world: ModelWorld
    private(set) var model: ReferenceModel
    private(set) var tally = Tally()

    init(policy: ReferenceModel.Policy = .init()) async throws {
        model = ReferenceModel(policy: policy)
        world = try await ModelWorld.make()
    }

    /// Takes one step on both sides; throws where they differ.
    func take(_ step: Step) async throws {
        world.clock.time.withLock { $0 = step.at }
        tally.steps += 1
        switch step.act {
        case .open(let actor, let isCounted):
            if case .holder(let entry) = actor, world.bearers[entry] == nil { return }
            let device = ModelWorld.device(actor, isCounted: isCounted)
            let expected = model.open(actor, isCounted: isCounted, device: device, step: step.id, now: step.at)
            let status = try await world.open(actor, isCounted: isCounted, step: step.id, node: step.node)
            count(status)
            switch expected {
            case .refused(let statuses) where statuses.contains(status): break
            case .granted(status, _): break
            default: throw ModelWorld.Difference("expected \(expected), came \(status)")
            }
        case .ask(let session, let request, let claim, let spelling, let isWithheld):
            // Only a list tells the URI of an entry that came with its space.
            if case .removeEntry(let entry) = request, model.spaceOfEntry[entry] != nil, world.entryURIs[entry] == nil {
                return
            }
            guard let opened = model.sessions[session],
                try world.wrap(
                    request, claim, session: session, isCounted: opened.isCounted, spelling: spelling, step: step.id)
            else { return }
            if !isWithheld { try await deliver(step.id, step) }
        case .deliver(let earlier):
            if world.sent[earlier] != nil { try await deliver(earlier, step) }
        case .restart:
            world.nodes[step.node] = try await world.node()
            model.restart(node: step.node)
        case .sweep: try await world.sweep()
        }
    }

    private func count(_ status: Int) {
        tally.operations += 1
        tally.statuses[status, default: 0] += 1
    }

    private func deliver(_ id: Int, _ step: Step) async throws {
        guard let sent = world.sent[id] else { return }
        let node = world.nodes[step.node]
        let reply = await node.handler.reply(to: sent.text, source: "\(sent.session)")
        guard let (answer, octets) = try world.open(reply, of: sent.session, by: node) else {
            count(499)
            guard model.isDead(sent.session, step.at) else { throw ModelWorld.Difference("a live session was reset") }
            return
        }
        count(answer.status)
        if let session = model.sessions[sent.session], model.isDead(sent.session, step.at) {
            // Another node of the same store may still answer with what it has in memory; it changes nothing.
            let isOld = sent.request.isMutating ? sent.answer != nil : true
            guard let ended = session.endedOn, ended != step.node, session.expires > step.at, isOld else {
                throw ModelWorld.Difference("an ended session was answered \(answer.status)")
            }
        }
        // A final answer to a change stands for ever; what was not judged is judged anew (rule 7).
        if let first = sent.answer, sent.request.isMutating, first.status != 401, first.status < 500 {
            tally.repeated += 1
            guard octets == first.octets else {
                throw ModelWorld.Difference("the same string got \(answer.status) after \(first.status)")
            }
            return
        }
        let prediction = model.judge(
            sent.request, sent.claim, session: sent.session, step: id, counter: sent.counter, time: sent.time,
            node: step.node, now: step.at)
        guard answer.requestID == sent.id else {
            throw ModelWorld.Difference("answer to \(answer.requestID ?? "nothing") instead of \(sent.id)")
        }
        if (200..<300).contains(answer.status) { try sent.operation?.check(answer, host: TestKMS.host) }
        try world.compare(answer, prediction, model)
        note(sent, prediction, answer, step.at)
        world.sent[id]?.answer = (octets, answer.status)
    }

    private func note(
        _ sent: ModelWorld.Sent, _ prediction: ReferenceModel.Prediction, _ answer: KMSAnswer, _ now: Timestamp
    ) {
        func rare(_ name: String) { tally.rare[name, default: 0] += 1 }
        if answer.errorCode == KMSFailure.staleCounterCode { rare("stale counter") }
        if answer.errorCode == KMSFailure.staleTimeCode { rare("stale time") }
        guard case .granted(_, let content) = prediction, let session = model.sessions[sent.session] else { return }
        switch (content, session.actor) {
        case (.key(let key), .holder): rare("holder reads \(model.keys[key]?.space == nil ? "unbound" : "bound")")
        case (.key(let key), .user(let own)):
            guard case .retrieveKey = sent.request, let space = model.keys[key]?.space else { return }
            let user = sent.claim.effectiveUser(of: own)
            if user != own { rare("officer reads") }
            let paths = model.paths(.user(user), to: space, now)
            if paths == ["nested"] { rare("nested reads") }
            if paths == ["public"] { rare("public reads") }
        case (.removed(_, let remaining), _):
            for path in remaining.flatMap({ $0 }) { rare("remaining \(path)") }
        case (.space(_, _, isNew: false), _):
            if case .createSpace = sent.request { rare("creation repeated") }
        default: break
        }
    }

    /// The strings of steps before this one are not sent again.
    func forget(before step: Int) {
        for id in world.sent.keys where id < step { world.sent[id] = nil }
    }
}
