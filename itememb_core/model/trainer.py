import numpy as np
import torch
from itememb_core.channels import CHANNELS
from itememb_core.model.losses import goes_with, info_nce, normalise, normalise_backward
from itememb_core.model.optimizer import RowAdagrad
from itememb_core.model.sampler import *

def matches(x, y):
    order = np.argsort(y, kind="stable"); s = y[order]
    lo = np.searchsorted(s, x, "left"); n = np.searchsorted(s, x, "right") - lo
    i = np.repeat(np.arange(len(x)), n)
    off = np.arange(len(i)) - np.repeat(np.cumsum(n) - n, n)
    j = order[np.repeat(lo, n) + off]
    k = i != j
    return i[k] * len(x) + j[k]

class Stream:
    def __init__(self, source, seed, stream, batch):
        self.s, self.seed, self.stream, self.batch, self.block, self.pos = source, seed, stream, batch, 0, 1 << 60
        self.per = 64
    def next(self):
        if self.pos >= self.per:
            self.a, self.b = self.s.draw(block_rng(self.seed, self.stream, self.block), self.per * self.batch)
            self.block += 1; self.pos = 0
        i = self.pos * self.batch; self.pos += 1
        return self.a[i:i+self.batch], self.b[i:i+self.batch]

class Exp:
    """experimental trainer"""
    def __init__(self, d, E, C=None, lr=.01, clr=None, t=.1, batch=1024, bshare=.7, like=0.0, power=1.0, gwpower=1.0, seed=0, half=True, window=30, wmask=False, mixed=False, gwscale=1.0):
        self.__dict__.update(locals())
        self.clr = clr or lr
        n = d.nodes
        self.w = within_sources(d.pairs, n); self.b = bridge_sources(d.training_bags, window, n)
        tot = sum(v.total for v in self.b.values())
        wt = {c: float(d.counts[:, CHANNELS.index(c)].sum()) for c in self.w}
        wsum = sum(wt.values())
        self.share = {**{('w', c): (1-bshare)*wt[c]/wsum for c in self.w}, **{('b', k): bshare*v.total/tot for k, v in self.b.items()}}
        self.stream = {k: Stream((self.w if k[0] == 'w' else self.b)[k[1]], seed, i, batch) for i, k in enumerate(self.share)}
        self.done = {k: 0.0 for k in self.share}
        self.E = torch.tensor(E.copy()); self.C = torch.zeros_like(self.E) if C is None else torch.tensor(C.copy())
        bias = np.full(n, -np.inf, np.float32)
        for s in self.w.values(): bias = np.maximum(bias, np.log(np.maximum(s.marginal.a, 1e-8)))
        bias = np.maximum(bias, -18.0); self.B = torch.tensor(bias)[:, None].clone()
        self.oE, self.oC, self.oB = RowAdagrad(self.E), RowAdagrad(self.C), RowAdagrad(self.B)
        self.wt = {}
        for k in self.share:
            m = (self.w if k[0] == 'w' else self.b)[k[1]].marginal
            p = power if k[0] == 'b' else gwpower
            f = lambda q, p: torch.tensor((np.maximum(q, 1e-9)*n).astype(np.float32)) ** -p
            self.wt[k] = (f(m.a, p), f(m.b, p), f(m.a, power), f(m.b, power))
        self.t_sample = self.t_hits = 0.
    def step(self, lrf=1.0):
        import time
        k = max(self.share, key=lambda k: self.share[k] * (sum(self.done.values()) + 1) - self.done[k]); self.done[k] += 1
        t0 = time.perf_counter()
        a, b = self.stream[k].next(); t1 = time.perf_counter(); self.t_sample += t1 - t0
        ta, tb = torch.from_numpy(a.astype(np.int64)), torch.from_numpy(b.astype(np.int64))
        wa, wb, la, lb = self.wt[k]
        ub, nb = normalise(self.E[tb])
        if k[0] == 'w':
            t1 = time.perf_counter()
            hits = torch.from_numpy(np.concatenate([matches(b, b), matches(a, b)])); self.t_hits += time.perf_counter() - t1
            r = goes_with(self.C[ta], ub, self.B[tb, 0], weight=wb[tb], hits=hits, half=self.half)
            gb = r.b * self.gwscale; rows = [tb]; grads = []
            loss = r.loss
            if self.like:
                ua, na = normalise(self.E[ta])
                hits = torch.from_numpy(np.concatenate([matches(b, b), matches(a, b), matches(a, a)]))
                r2 = info_nce(ua, ub, weight_a=la[ta], weight_b=lb[tb], hits=hits, temperature=self.t, half=self.half)
                gb = gb + self.like * r2.b; rows.append(ta); grads.append(normalise_backward(r2.a * self.like, ua, na))
            grads.insert(0, normalise_backward(gb, ub, nb))
            self.oC.step(ta, r.a, self.clr * lrf); self.oB.step(tb, r.bias[:, None], self.clr * lrf)
            self.oE.step(torch.cat(rows), torch.cat(grads), self.lr * lrf)
        else:
            ua, na = normalise(self.E[ta])
            t1 = time.perf_counter()
            hits = torch.from_numpy(np.concatenate([matches(b, b), matches(a, a), matches(a, b)])); self.t_hits += time.perf_counter() - t1
            r = info_nce(ua, ub, weight_a=wa[ta], weight_b=wb[tb], hits=hits, temperature=self.t, half=self.half)
            loss = r.loss
            self.oE.step(torch.cat([ta, tb]), torch.cat([normalise_backward(r.a, ua, na), normalise_backward(r.b, ub, nb)]), self.lr * lrf)
        return k, loss
